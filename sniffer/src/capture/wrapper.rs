//! Sources that wrap other sources. [`Source`] is implemented here once for all wrappers. A method that is added to [`Source`] is therefore
//! forwarded in this one place, and no wrapper can omit it.

use super::{Frame, Polled, Source};
use std::{io, time::Duration};

/// A source that changes which frames another source delivers, or when. It implements this trait instead of [`Source`].
pub trait Wrapper: Send {
    /// The wrapped source; `None` while its device is gone.
    fn inner(&mut self) -> Option<&mut dyn Source>;

    /// See [`Source::poll`].
    ///
    /// # Errors
    /// The errors of [`Source::poll`].
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled>;
}

impl<W: Wrapper> Source for W {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        Wrapper::poll(self, wait, each)
    }

    fn update_stats(&mut self) -> io::Result<()> {
        self.inner().map_or(Ok(()), Source::update_stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{
            Link, Segments,
            dump::{Dump, Dumped},
            filtered::{Filtered, compile_all},
            live::Live,
            replay::{Looped, Paced, Stepped},
            slot::Slot,
            tally::Tally,
        },
        time::Timestamp,
    };
    use std::sync::{Arc, Mutex};

    type Calls = Arc<Mutex<Vec<&'static str>>>;

    /// A source that records which of its methods were called. A method added to [`Source`] must be added here and to the list in the test.
    struct Recorder(Calls);

    impl Source for Recorder {
        fn poll(&mut self, _: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
            self.0.lock().unwrap().push("poll");
            each(Frame {
                time: Timestamp(1),
                link: Link::Ethernet,
                data: &[0; 60],
                wire_len: 60,
                tag: None,
                ifindex: 1,
                segments: Segments::default(),
                task: Default::default(),
            });
            Ok(Polled::Frames(1))
        }

        fn update_stats(&mut self) -> io::Result<()> {
            self.0.lock().unwrap().push("update_stats");
            Ok(())
        }
    }

    #[test]
    fn every_wrapper_forwards_every_call() {
        let folder = tempfile::tempdir().unwrap();
        let dump = Dump::create(folder.path().join("x").to_str().unwrap()).unwrap();
        let filter = Slot::new(Some(Arc::new(compile_all("greater 60").unwrap())));
        type Wrap<'a> = Box<dyn Fn(Recorder) -> Box<dyn Source> + 'a>;
        let wrappers: [(&str, Wrap<'_>); 6] = [
            ("live", Box::new(|inner| Box::new(Live::new("x", Box::new(inner), Box::new(|| panic!("it never fails")))))),
            ("filtered", Box::new(|inner| Box::new(Filtered::new(Box::new(inner), &filter, Arc::new(Tally::default()))))),
            ("dumped", Box::new(|inner| Box::new(Dumped::new(Box::new(inner), Arc::clone(&dump))))),
            (
                "looped",
                Box::new(|inner| {
                    let mut inner = Some(inner);
                    Box::new(Looped::new(Box::new(move || Ok(Box::new(inner.take().unwrap()))), 1).unwrap())
                }),
            ),
            ("paced", Box::new(|inner| Box::new(Paced::new(Box::new(inner))))),
            ("stepped", Box::new(|inner| Box::new(Stepped::new(Box::new(inner), io::empty(), io::sink())))),
        ];
        for (name, wrap) in wrappers {
            let calls = Calls::default();
            let mut source = wrap(Recorder(Arc::clone(&calls)));
            let mut frames = 0;
            assert_eq!(source.poll(Duration::from_secs(5), &mut |_| frames += 1).unwrap(), Polled::Frames(1), "{name}");
            source.update_stats().unwrap();
            assert_eq!((frames, calls.lock().unwrap().as_slice()), (1, &["poll", "update_stats"][..]), "{name}");
        }
    }
}
