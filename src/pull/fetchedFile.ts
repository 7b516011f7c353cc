/*
 * A file that is being fetched: it is written as FILE.part, hashed meanwhile, and gets its name when it is complete and
 * verified. After an error the bytes so far are kept.
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream, fstatSync, ftruncateSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { bytesText } from "../files/bytes.ts";
import { cannotWrite, PartFile, writing } from "../files/partFile.ts";

/** A file being fetched: open it, append bytes, compare the digests, then `finish`. */
export class FetchedFile extends PartFile {
  size = 0;
  private sha256 = createHash("sha256");
  private git: Hash | undefined; // sha1, begun when the length is known

  /**
   * Open the file, and hash the bytes that are already there.
   * @throws Llama2Error E_FILE; the signal's reason
   */
  static async open(path: string, expectedBytes: number | undefined, signal?: AbortSignal): Promise<FetchedFile> {
    const file = new FetchedFile(path, `${path}.part`, "a+");
    try {
      await file.hashWhatIsThere(expectedBytes, signal);
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  private async hashWhatIsThere(expectedBytes: number | undefined, signal?: AbortSignal): Promise<void> {
    const { size } = writing(this.path, () => fstatSync(this.fd));
    this.begin(expectedBytes);
    if (expectedBytes !== undefined && size > expectedBytes) return this.restart(expectedBytes);
    if (size === 0) return;
    try {
      for await (const chunk of createReadStream(this.partPath, { end: size - 1, highWaterMark: 2 ** 20 })) {
        signal?.throwIfAborted();
        this.hash(chunk);
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw new Llama2Error("E_FILE", `cannot read ${this.partPath}: ${(error as Error).message}`);
    }
  }

  private begin(bytes: number | undefined): void {
    this.size = 0;
    this.sha256 = createHash("sha256");
    this.git = bytes === undefined ? undefined : createHash("sha1").update(`blob ${bytes}\0`);
  }

  /** Discard the bytes so far. */
  restart(bytes: number | undefined): void {
    writing(this.path, () => ftruncateSync(this.fd, 0));
    this.begin(bytes);
  }

  /** @throws Llama2Error E_FILE, for example if the disk is full. What was written stays */
  append(chunk: Uint8Array): void {
    try {
      this.writeAll(chunk, null, (part) => this.hash(part));
    } catch (error) {
      const { code, message } = cannotWrite(this.partPath, error);
      throw new Llama2Error(code, `${message}. ${bytesText(this.size)} of it are kept: what comes next begins there`);
    }
  }

  private hash(chunk: Uint8Array): void {
    this.sha256.update(chunk);
    this.git?.update(chunk);
    this.size += chunk.length;
  }

  /** The digests of the complete file. Nothing can be added afterwards. */
  digests(): { sha256: string; git: string | undefined } {
    return { sha256: this.sha256.digest("hex"), git: this.git?.digest("hex") };
  }
}
