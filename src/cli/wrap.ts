/*
 * Breaks lines between words while a text streams to a terminal.
 */

/** Breaks lines between words so that none is wider than the terminal. The newest word is held back until it is complete. */
export class WordWrap {
  private readonly columns: () => number;
  private column = 0; // where the cursor is
  private gap = ""; // spaces before the waiting word
  private word = "";
  private wordWidth = 0;
  private breakable = true; // whether a line may end before the waiting word

  /** @param columns the terminal's width; called for each piece, since terminals are resized */
  constructor(columns: () => number) {
    this.columns = columns;
  }

  /** What can be printed after `text`. */
  push(text: string): string {
    const columns = this.columns();
    let out = "";
    for (const character of text) {
      if (character === "\n") {
        out += `${this.take(columns)}\n`;
        this.column = 0;
      } else if (character === " " || character === "\t") {
        if (this.word !== "") out += this.takeWord(columns);
        this.gap += character;
      } else {
        if (this.startsWord(character)) out += this.takeWord(columns);
        this.word += character;
        this.wordWidth += widthOf(character);
        if (this.wordWidth < columns) continue;
        out += this.takeWord(columns); // no line has room for it: the terminal cuts it
        this.breakable = false;
      }
    }
    return out;
  }

  /** The word that is held back. */
  end(): string {
    return this.take(this.columns());
  }

  /** Whether a line may break between the waiting word and `character`, without a space. */
  private startsWord(character: string): boolean {
    if (this.word === "" || widthOf(character) === 0 || this.word.endsWith(JOINER)) return false;
    if (CLOSING.test(character)) return false;
    return isWide(character) || isWide([...this.word].findLast((before) => widthOf(before) > 0) ?? "");
  }

  private take(columns: number): string {
    let out = this.word === "" ? "" : this.takeWord(columns);
    if (this.column + this.gap.length <= columns) {
      out += this.gap;
      this.column = this.afterGap();
    }
    this.gap = "";
    this.breakable = true;
    return out;
  }

  /** The waiting word, after the spaces before it or, if it does not fit, on a line of its own. */
  private takeWord(columns: number): string {
    const start = this.afterGap();
    const fits = start + this.wordWidth <= columns;
    const breaks = !fits && this.breakable && this.column > 0;
    const out = (breaks ? "\n" : this.gap) + this.word;
    const end = (breaks ? 0 : start) + this.wordWidth;
    this.column = end === 0 ? 0 : ((end - 1) % columns) + 1;
    this.gap = this.word = "";
    this.wordWidth = 0;
    this.breakable = true;
    return out;
  }

  private afterGap(): number {
    let column = this.column;
    for (const space of this.gap) column = space === "\t" ? 8 * Math.floor(column / 8 + 1) : column + 1;
    return column;
  }
}

const JOINER = "\u200d"; // joins emoji
/** Characters that must not begin a line: closing punctuation, and modifiers of the emoji before them. */
const CLOSING = /^(?:[\p{Pe}\p{Pf}\p{Po}]|\p{Emoji_Modifier})$/u;
const ZERO_WIDTH = /^(?:[\p{Mn}\p{Me}\p{Cf}\p{Cc}]|\p{Emoji_Modifier})$/u;
/** East Asian wide and full width, as far as terminals agree. Flags are pairs of letters, each one column wide. */
const WIDE =
  /^(?:[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{17000}-\u{18aff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|(?![\u{1f1e6}-\u{1f1ff}])\p{Emoji_Presentation})$/u;

const isWide = (character: string) => character >= "\u1100" && WIDE.test(character);

/** How many columns of a terminal a code point takes. */
export function widthOf(character: string): number {
  if (character >= " " && character < "\x7f") return 1;
  return ZERO_WIDTH.test(character) ? 0 : isWide(character) ? 2 : 1;
}
