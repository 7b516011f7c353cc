/*
 * Shows how tokens were chosen, as JSON and as a table.
 */
import type { Token } from "../generateOptions.ts";
import type { TextTokenizer } from "../textTokenizer.ts";

/** As --json has it. */
export interface TokenJson extends Omit<Token, "position" | "top"> {
  piece: string;
  top?: { id: number; piece: string; logprob: number }[];
}

export function tokenJson(tokenizer: TextTokenizer, { id, logprob, rank, nucleus, coin, top }: Token): TokenJson {
  const pieces = top?.map((other) => ({ id: other.id, piece: tokenizer.piece(other.id), logprob: other.logprob }));
  return { id, piece: tokenizer.piece(id), logprob, rank, nucleus, coin, top: pieces };
}

/**
 * A line for each token: its text, its probability, its rank, from how many tokens it was drawn, the random number, and
 * the alternatives.
 */
export function tokenTable(tokenizer: TextTokenizer, tokens: readonly Token[]): string {
  const shown = (id: number) => JSON.stringify(tokenizer.piece(id));
  const percent = (logprob: number) => `${(100 * Math.exp(logprob)).toFixed(1)}%`;
  const rows = tokens.map(({ id, position, logprob, rank, nucleus, coin, top = [] }) => [
    `${position}`,
    shown(id),
    percent(logprob),
    `${rank ?? ""}`,
    `${nucleus ?? ""}`,
    coin?.toFixed(4) ?? "",
    top.map((other) => `${shown(other.id)} ${percent(other.logprob)}`).join("  "),
  ]);
  return table([["position", "token", "share", "rank", "among", "coin", "likeliest"], ...rows]);
}

/** Words in columns: texts to the left, numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const isText = (column: number) => rows.slice(1).some((row) => /["\p{L}]/u.test(row[column]));
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) => {
    const cells = row.map((cell, column) =>
      isText(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    return cells.join("  ").trimEnd();
  });
  return `${lines.join("\n")}\n`;
}
