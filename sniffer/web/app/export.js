// @ts-check
/** Saves the kept transactions as a file. The request needs the token, so it is no plain link. */
import { ask } from './api.js';
import { redactor } from './redact.js';

/**
 * @param {'ndjson' | 'csv'} format @param {import('./state.js').State} state The original one.
 * @returns {Promise<string>} What was done or went wrong.
 */
export async function save(format, state) {
  try {
    const response = await ask('export', { format, filter: state.filter, service: state.service, operation: state.operation });
    if (!response.ok) return `Not saved: ${(await response.json()).error}`;
    let blob = await response.blob();
    if (state.redact) blob = await redacted(blob);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `sniffer-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    return `Saved as ${link.download}`;
  } catch {
    return 'Not saved: no answer from the program';
  }
}

/** @param {Blob} blob with a JSON object in each line */
async function redacted(blob) {
  const { copy } = redactor();
  const lines = (await blob.text()).split('\n').filter((line) => line !== '').map((line) => JSON.stringify(copy(JSON.parse(line))));
  return new Blob([lines.map((line) => `${line}\n`).join('')], { type: 'application/x-ndjson' });
}
