// Runs the widget's worker as a browser would: the challenge comes on standard input, the
// solution goes to standard output.
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const worker = path.join(__dirname, "../regsys/static/altcha/pbkdf2.js");
globalThis.crypto ??= require("node:crypto").webcrypto;
globalThis.self = {
    postMessage(message) {
        if (message === null || message.error) throw new Error("not solved", message ?? {});
        process.stdout.write(JSON.stringify(message));
    },
};
vm.runInThisContext(fs.readFileSync(worker, "utf8"), worker);
globalThis.self.onmessage({
    data: { type: "work", challenge: JSON.parse(fs.readFileSync(0, "utf8")), timeout: 50_000 },
});
