/*
 * Servers with certificates: a redirect from HTTPS to HTTP is refused, and so is an untrusted certificate. The
 * certificate is made by openssl, and trusted by NODE_EXTRA_CA_CERTS.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { llama2Process } from "../helpers/cli.ts";
import { listen } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";

const folder = tempDir();
const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyFile];
const canMake =
  spawnSync("openssl", ["req", "-x509", "-out", certFile, "-days", "2", ...made, ...subject]).status === 0;
const needsOpenssl = canMake ? "" : " (skipped: needs openssl, which is not here)";

describe.skipIf(!canMake)(`a server with a certificate${needsOpenssl}`, async () => {
  const asked: string[] = [];
  const plain = createServer((request, response) => {
    asked.push(`plain ${request.url}`);
    response.end("bytes");
  });
  const certificate = canMake ? { key: readFileSync(keyFile), cert: readFileSync(certFile) } : {};
  const secure = createSecureServer(certificate, (request, response) => {
    asked.push(`secure ${request.url}`);
    if (request.url === "/there.bin") response.writeHead(302, { location: `${plainUrl}/here.bin` }).end();
    else response.end("bytes");
  });
  const plainUrl = await listen(plain);
  const url = (await listen(secure)).replace("http:", "https:");
  afterAll(() => {
    plain.close();
    secure.close();
  });
  const pull = (path: string, env: NodeJS.ProcessEnv = { NODE_EXTRA_CA_CERTS: certFile }) => {
    asked.length = 0;
    const cwd = tempDir();
    const without = { HTTPS_PROXY: "", https_proxy: "", HF_HOME: cwd };
    return llama2Process(["pull", `${url}/${path}`], { cwd, env: { ...without, ...env } }).then((finished) => ({
      ...finished,
      files: readdirSync(cwd),
    }));
  };

  it("works as any other", async () => {
    const { code, stderr, files } = await pull("here.bin");
    expect({ code, files }, stderr).toEqual({ code: 0, files: ["here.bin"] });
  });

  it("that redirects to one without is not followed", async () => {
    const { code, stderr } = await pull("there.bin");
    expect(code).toBe(1);
    expect(stderr).toMatch(/there\.bin leads to http:\/\/127\.0\.0\.1:\d+, which is not safe: refused \(E_NET\)/);
    expect(asked).toEqual(["secure /there.bin"]);
  });

  it("that is not trusted is refused, without retries", async () => {
    const { code, stderr } = await pull("here.bin", { NODE_EXTRA_CA_CERTS: "" });
    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot read https:\/\/127\.0\.0\.1:\d+\/here\.bin: .*certificate.* \(E_NET\)/);
    expect(asked).toEqual([]);
  });
});
