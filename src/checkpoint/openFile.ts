/*
 * Opens a checkpoint by its path, in Node.
 */
import { fileAt } from "../files/disk.ts";
import { Checkpoint } from "./llama2c/checkpoint.ts";

/**
 * Open the llama2.c checkpoint at `path`, and check its header and size. `close` it when done.
 * @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is not a checkpoint
 */
export const openFile = async (path: string): Promise<Checkpoint> => Checkpoint.open(fileAt(path));
