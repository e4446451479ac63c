// Flamenco Manager as its documentation describes it to job compiler scripts.
//
// node flamenco_manager.js SCRIPT < JOB > RESULT
// JOB is a submitted job: {name, settings}. RESULT has the job type, and the tasks or the exception.

"use strict";
const fs = require("fs");
const vm = require("vm");

const SETTING_KEYS = {  // AvailableJobSetting of the API
    key: "string", type: "string", subtype: "string", choices: "object", propargs: "object", description: "string",
    label: "string", default: "any", eval: "string", evalInfo: "object", visible: "string", required: "boolean",
    editable: "boolean",
};
const TYPES = { string: "string", int32: "number", float: "number", bool: "boolean" };
const SUBTYPES = ["file_path", "dir_path", "file_name", "hashed_file_path"];
const VISIBLE = ["visible", "hidden", "submission", "web"];
const COMMANDS = {  // parameters of the commands that a worker knows
    "blender-render": { exe: "string", exeArgs: "string", argsBefore: "strings", blendfile: "string", args: "strings" },
    "exec": { exe: "string", args: "strings" },
    "echo": { message: "string" },
};

function check(holds, message) {
    if (!holds) throw new Error(message);
}

function checkJobType(type) {
    check(typeof type.label === "string" && type.label, "a job type has a label");
    const keys = new Set();
    for (const setting of type.settings) {
        for (const [key, value] of Object.entries(setting)) {
            check(key in SETTING_KEYS, `${setting.key}: there is no ${key}`);
            check(SETTING_KEYS[key] === "any" || typeof value === SETTING_KEYS[key], `${setting.key}: ${key}`);
        }
        check(/^[a-z][a-z0-9_]*$/.test(setting.key) && !keys.has(setting.key), `${setting.key} is no key`);
        keys.add(setting.key);
        check(setting.type in TYPES, `${setting.key}: type`);
        check(setting.subtype === undefined || SUBTYPES.includes(setting.subtype), `${setting.key}: subtype`);
        check(setting.visible === undefined || VISIBLE.includes(setting.visible), `${setting.key}: visible`);
        check(setting.default === undefined || typeof setting.default === TYPES[setting.type], `${setting.key}: default`);
        check(!setting.choices || setting.type === "string", `${setting.key}: only strings have choices`);
        check(!setting.choices || setting.choices.includes(setting.default), `${setting.key}: default among choices`);
        check(setting.description, `${setting.key}: description`);
    }
}

function checkParameters(name, parameters) {
    check(name in COMMANDS, `workers know no command ${name}`);
    for (const [key, kind] of Object.entries(COMMANDS[name])) {
        const value = parameters[key];
        const isRight = kind === "string" ? typeof value === "string"
            : Array.isArray(value) && value.every((part) => typeof part === "string");
        check(isRight, `${name} needs ${key}, ${kind}`);
    }
    for (const key of Object.keys(parameters)) check(key in COMMANDS[name], `${name} has no ${key}`);
}

class Task {
    constructor(name, type) {
        check(name && name.trim() && type && type.trim(), "author.Task(name, type): both are required");
        Object.assign(this, { name: name.trim(), type: type.trim(), commands: [], dependencies: [] });
    }
    addCommand(command) { this.commands.push(structuredClone(command)); }
    addDependency(task) { this.dependencies.push(task.name); }
}

const author = {
    Task: (name, type) => new Task(name, type),
    Command: (name, parameters) => {
        checkParameters(name, parameters);
        return { name, parameters };
    },
};

function shellSplit(text) {
    const parts = [];
    for (const [match] of text.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)) parts.push(match.replace(/["']/g, ""));
    return parts;
}

const [, , script] = process.argv;
const submitted = JSON.parse(fs.readFileSync(0, "utf8"));
const result = { tasks: [] };
const globals = vm.createContext({ author, shellSplit, print: () => {}, alert: () => {} });
vm.runInContext(fs.readFileSync(script, "utf8"), globals, { filename: script });
result.job_type = vm.runInContext("JOB_TYPE", globals);
checkJobType(result.job_type);
const job = {
    name: submitted.name, created: new Date(0), settings: { ...submitted.settings },
    // What is added to a task later is lost.
    addTask: (task) => { check(task instanceof Task, "addTask takes a task"); result.tasks.push(structuredClone({ ...task })); },
};
try {
    vm.runInContext("compileJob", globals)(job);
} catch (error) {
    check(typeof error === "string", `compileJob threw ${error}`);
    result.error = error;
}
process.stdout.write(JSON.stringify(result));
