/*
 * llama2 models: which models are here.
 */
import { knownModels } from "../models.ts";
import { print } from "./io.ts";
import { megabytes } from "./pull.ts";

export interface ModelsFlags {
  json?: boolean;
}

/** Print the models that are here: a line for each, or one JSON object. */
export async function models(flags: ModelsFlags): Promise<void> {
  const models = await knownModels();
  if (flags.json) return print(`${JSON.stringify({ models })}\n`);
  const rows = models.map(({ name, format, parameters, bytes, path }) => [
    name,
    format,
    parameters.toLocaleString("en-US"),
    megabytes(bytes),
    path,
  ]);
  await print(table([["name", "format", "parameters", "size", "path"], ...rows]));
}

/** Rows of the same number of cells, in columns. */
function table(rows: readonly string[][]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
