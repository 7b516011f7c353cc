/*
 * Layout of text for the terminal: lines of at most 80 columns.
 */

const COLUMNS = 80;

/** A text broken into lines between words. The first line begins with `head`; the others are indented by its width. */
export function wrapped(head: string, text: string): string[] {
  const indent = " ".repeat(head.length);
  const lines: string[] = [];
  let line = head;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = indent;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line].map((line) => line.trimEnd());
}

/** Bytes in GB (10^9), or in smaller units if there are few. */
export function gigabytes(bytes: number): string {
  if (bytes >= 9.95e8) return `${(bytes / 1e9).toFixed(bytes < 9.95e10 ? 1 : 0)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(bytes < 9.95e6 ? 1 : 0)} MB` : `${(bytes / 1e3).toFixed(1)} kB`;
}
