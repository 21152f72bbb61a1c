// jsii's kernel without the Node process that jsii puts before it, which hands on every message between it and
// Python: a seventh of a synth. What that process sets up, this does: the kernel reads and writes file
// descriptor 3, prints nothing where the messages go, and resolves packages without following links.
// For the version of jsii that `quick_start.py` names; its kernel's folder comes in JSII_KERNEL.
"use strict";
const fs = require("fs");
const path = require("path");
const { Writable } = require("stream");
const workers = require("worker_threads");

const [PYTHON_TO_KERNEL, KERNEL_TO_PYTHON, LOG, MESSAGES] = [0, 1, 2, 3];
const folder = process.env.JSII_KERNEL;
const { readSync, writeSync } = fs;

fs.readSync = (file, ...rest) => readSync(file === MESSAGES ? PYTHON_TO_KERNEL : file, ...rest);
fs.writeSync = (file, ...rest) => writeSync(file === MESSAGES ? KERNEL_TO_PYTHON : file, ...rest);

// Python prints what comes in this form.
for (const name of ["stdout", "stderr"]) {
  const stream = new Writable({
    write(chunk, _, done) {
      writeSync(LOG, `${JSON.stringify({ [name]: Buffer.from(chunk).toString("base64") })}\n`);
      done();
    },
  });
  Object.defineProperty(process, name, { get: () => stream });
}

// Packages of Python have no folders for it, so that its files have other names.
workers.Worker = class extends workers.Worker {
  constructor(file, options) {
    super(path.join(path.dirname(file), `lib__${path.basename(file)}`), options);
  }
};

// The kernel links packages, instead of copying them, where it sees this; the option itself came by NODE_OPTIONS,
// which is not for processes that start from here.
process.execArgv.push("--preserve-symlinks");
delete process.env.NODE_OPTIONS;

require(path.join(folder, "lib__program.js"));
