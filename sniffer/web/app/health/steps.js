// @ts-check
// The way of a packet from the card to the output, as steps with what each drops and why, from the counters (docs/ARCHITECTURE.md, Counters).
// Not: how they are drawn (views/health.js).

/** @typedef {'lost' | 'left' | 'note'} Weight `lost`: data is missing; `left`: left out on purpose or by its kind; `note`: worth knowing. */
/** @typedef {{counter: string, count: number, weight: Weight, text: string}} Item */
/** @typedef {{title: string, count: number, unit: string, says: string, share: ?{part: number, of: number, text: string}, items: Item[]}} Step */

/** @typedef {[string, Weight, string]} Known Counter, weight and meaning. */
/** @type {Known[]} */
const CARD = [
  ['capture.lost', 'lost', 'packets lost, because the capture buffer was full: give the program more CPU, a larger buffer, or a narrower filter'],
  ['capture.lost_by_interface', 'lost', 'packets lost by the network card or its driver'],
  ['capture.unread', 'lost', 'packets left in the buffer at the end'],
  ['capture.unmatched', 'left', 'packets that the kernel filter left out: not on a watched port'],
  ['capture.shunted', 'left', 'packets that were not copied, because their connection is not needed any more'],
  ['capture.verdicts_not_entered', 'note', 'connections that the kernel could not be told to leave out'],
  ['verdicts.dropped', 'note', 'connections beyond what the kernel is told at a time'],
];
/** @type {Known[]} */
const FRAMES = [
  ['capture.own', 'left', 'packets of the program itself'],
  ['capture.duplicates', 'left', 'packets seen on another interface already'],
  ['decode.not_ip', 'left', 'packets that are not IP (ARP, LLDP and others)'],
  ['decode.link_truncated', 'lost', 'packets cut within the link header'],
  ['decode.ip_truncated', 'lost', 'packets cut within the IP header'],
  ['decode.ip_malformed', 'lost', 'packets with a malformed IP header'],
  ['decode.transport_truncated', 'lost', 'packets cut within the TCP or UDP header'],
  ['decode.transport_malformed', 'lost', 'packets with a malformed TCP or UDP header'],
  ['decode.fragments', 'note', 'fragments'],
  ['decode.fragments_reassembled', 'note', 'datagrams put together from fragments'],
  ['decode.fragments_expired', 'lost', 'fragments whose other ones did not come'],
  ['decode.fragments_evicted', 'lost', 'fragments given up for lack of room'],
  ['decode.fragments_too_many', 'lost', 'fragments of datagrams with too many of them'],
  ['decode.fragments_overlapping', 'lost', 'fragments that overlap others'],
  ['decode.fragments_malformed', 'lost', 'malformed fragments'],
  ['decode.fragments_snapped', 'lost', 'fragments cut by the capture length'],
  ['decode.fragments_beginnings', 'note', 'incomplete datagrams whose beginning was used'],
  ['time.steps', 'note', 'steps of the clock'],
];
/** @type {Known[]} */
const TCP = [
  ['tcp.dropped_because_of_gaps', 'lost', 'connections whose protocol could not go on after a gap'],
  ['tcp.gaps', 'lost', 'gaps: segments that never came'],
  ['tcp.gap_bytes', 'lost', 'bytes in these gaps'],
  ['tcp.early_dropped', 'lost', 'segments behind a hole at the end'],
  ['tcp.given_up', 'lost', 'connections given up, because their bytes are not of the protocol'],
  ['tcp.evicted', 'lost', 'connections given up for lack of room'],
  ['tcp.evicted_half_open', 'left', 'half open connections given up for lack of room'],
  ['tcp.resynced', 'note', 'directions taken up again at another sequence number'],
  ['tcp.retransmitted', 'note', 'segments sent again'],
  ['tcp.early', 'note', 'segments out of order'],
  ['tcp.out_of_window', 'note', 'segments outside the window, ignored as the receiver does'],
  ['tcp.without_ack', 'note', 'segments without ACK, ignored as the receiver does'],
  ['tcp.bad_ack', 'note', 'segments with a wrong ACK, ignored as the receiver does'],
  ['tcp.ignored_resets', 'note', 'resets that the receiver ignores'],
  ['tcp.ignored_syns', 'note', 'SYNs that the receiver ignores'],
  ['tcp.ignored_fins', 'note', 'FINs that the receiver ignores'],
  ['tcp.idle', 'note', 'connections closed here because they were idle'],
  ['tcp.resets', 'note', 'connections that were reset'],
];
/** @type {Known[]} */
const PIPELINE = [
  ['libbeat.pipeline.events.dropped', 'lost', 'events dropped before the queue'],
  ['libbeat.pipeline.events.failed', 'lost', 'events that could not be put into the queue'],
  ['libbeat.pipeline.events.filtered', 'left', 'events left out by processors'],
  ['queue.disk.damaged', 'lost', 'damaged parts of the disk queue, put aside'],
  ['queue.disk.missing', 'lost', 'events of the disk queue that could not be read'],
  ['queue.disk.write_errors', 'lost', 'failed writes of the disk queue'],
];
/** @type {Known[]} */
const OUTPUT = [
  ['libbeat.output.events.dropped', 'lost', 'events that the server refused for good'],
  ['libbeat.output.events.failed', 'note', 'attempts that failed and are made again'],
  ['libbeat.pipeline.events.retry', 'note', 'events that were sent again'],
  ['libbeat.output.events.toomany', 'note', 'events that the server put off (429)'],
  ['libbeat.output.write.errors', 'note', 'failed writes to the server'],
  ['libbeat.output.read.errors', 'note', 'failed reads from the server'],
  ['libbeat.output.events.dead_letter', 'note', 'events in the dead letter index'],
];
/** What the last part of a counter of a protocol means; all others are shown with their names. @type {Record<string, [Weight, string]>} */
const PROTOCOL = {
  unmatched_responses: ['lost', 'responses without a request'],
  unmatched_requests: ['lost', 'requests without a response'],
  ignored_outgoing: ['left', 'outgoing transactions, left out by the configuration'],
  filtered: ['left', 'transactions left out by a processor'],
  shunted: ['note', 'connections of which some segments need not be copied'],
  not_encoded: ['lost', 'events that could not be encoded'],
};
/** Prefixes of counters that are not protocols. */
const OTHERS = new Set(['capture', 'decode', 'time', 'tcp', 'verdicts', 'flows', 'libbeat', 'queue', 'monitoring', 'processor', 'memory', 'plugins', 'view', 'beat', 'shared', 'process', 'system']);

/** @param {Known[]} known @param {(name: string) => number} of @returns {Item[]} */
function items(known, of) {
  return known.map(([counter, weight, text]) => ({ counter, weight, text, count: of(counter) })).filter(({ count }) => count > 0);
}

/**
 * @param {Record<string, number>} counters
 * @param {{count: number, skipped: number}} views transactions of the views, and those that they had no room for
 * @returns {Step[]}
 */
export function steps(counters, views) {
  const has = (/** @type {string} */ name) => Object.hasOwn(counters, name);
  const of = (/** @type {string} */ name) => (has(name) ? counters[name] : 0);
  const share = (/** @type {number} */ part, /** @type {number} */ all, /** @type {string} */ text) => (all > 0 ? { part, of: all, text } : null);
  const protocols = Object.keys(counters).filter((name) => name.includes('.') && !OTHERS.has(name.slice(0, name.indexOf('.')))).sort().map((counter) => {
    const [protocol, ...rest] = counter.split('.');
    const known = Object.hasOwn(PROTOCOL, rest.join('.')) ? PROTOCOL[rest.join('.')] : undefined;
    return { counter, count: of(counter), weight: known?.[0] ?? /** @type {Weight} */ ('note'), text: `${protocol}: ${known?.[1] ?? rest.join('.').replaceAll('_', ' ')}` };
  });
  const seen = of('capture.seen');
  const frames = of('capture.frames');
  const held = of('tcp.held') + of('plugins.held') + of('flows.held') + of('decode.held');
  /** @type {Step[]} */
  const list = [
    { title: 'Card and kernel filter', count: seen, unit: 'packets seen', says: `${grouped(of('capture.copied') || of('capture.matched'))} handed to the program`,
      share: share(of('capture.matched'), seen, 'matched the filter'), items: items(CARD, of) },
    { title: 'Decoding', count: frames, unit: 'packets decoded', says: '', share: null, items: items(FRAMES, of) },
    { title: 'TCP connections', count: of('tcp.connections'), unit: 'connections', says: `${grouped(of('tcp.open'))} open now`, share: null, items: items(TCP, of) },
    { title: 'Protocols', count: views.count, unit: 'transactions in this range', says: '', share: share(held, of('memory.max'), 'of the memory for traffic in use'),
      items: [...protocols, ...items([['plugins.evicted', 'lost', 'requests given up for lack of memory']], of)] },
  ];
  if (of('flows.created') || of('flows.active')) {
    list.push({ title: 'Flows', count: of('flows.created'), unit: 'flows', says: `${grouped(of('flows.active'))} active now`, share: null, items: items([
      ['flows.evicted', 'lost', 'flows given up for lack of room'], ['flows.unreported', 'lost', 'flows that were not reported'], ['flows.uncounted', 'lost', 'packets of flows that were not counted'],
      ['flows.drain_failures', 'lost', 'failed reads of the counts in the kernel'],
    ], of) });
  }
  list.push({ title: 'Views', count: views.count, unit: 'transactions shown', says: '', share: null,
    items: views.skipped > 0 ? [{ counter: 'skipped', count: views.skipped, weight: 'lost', text: 'transactions that these views had no room for; outputs got them' }] : [] });
  if (has('libbeat.pipeline.events.published') || has('libbeat.output.events.total')) {
    const [filled, most] = [of('libbeat.pipeline.queue.filled.events'), of('libbeat.pipeline.queue.max_events')];
    list.push({ title: 'Processors and queue', count: of('libbeat.pipeline.events.published'), unit: 'events', says: `${grouped(of('libbeat.pipeline.events.active'))} on the way`,
      share: share(filled, most, 'of the queue in use'), items: items(PIPELINE, of) });
    list.push({ title: 'Output', count: of('libbeat.output.events.acked'), unit: 'events accepted by the server', says: `${grouped(of('libbeat.output.events.active'))} being sent`, share: null, items: items(OUTPUT, of) });
  }
  return list;
}

/** @param {number} value */
function grouped(value) {
  return Math.round(value).toLocaleString('en');
}
