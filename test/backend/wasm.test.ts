import { wasm } from "../../src/backend/wasm/wasm.js";
import { testBackend } from "./suite.js";

// one thread runs the build without shared memory, several the one with it
testBackend(wasm, [1, 2, 3, 7]);
