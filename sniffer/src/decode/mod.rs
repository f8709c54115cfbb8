//! Frames to headers. Pure: it keeps nothing but fragments.
