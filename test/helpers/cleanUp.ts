/*
 * After each file of tests. (Files that share a process import helpers once, and a hook that a helper adds as it is imported
 * would be the first file's alone; this one runs for each.)
 */
import { afterAll } from "vitest";
import { removeTempDirs } from "./temp.ts";

afterAll(removeTempDirs);
