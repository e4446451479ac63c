// SPDX-License-Identifier: GPL-3.0-or-later

// A job type for Flamenco 3.6 and newer: every line of a prompts file becomes a point cloud or a mesh.
// docs/farm.md says where this file goes and what the workers need.

const JOB_TYPE = {
    label: "Point-E: Prompts to 3D",
    description: "Make a point cloud or a mesh of every line of a prompts file",
    settings: [
        { key: "prompts", type: "string", subtype: "file_path", required: true, visible: "submission",
          label: "Prompts File",
          description: "A .txt, .csv or .jsonl file with a prompt or a picture in each line, where every worker can read it" },
        { key: "output", type: "string", subtype: "dir_path", required: true, visible: "submission",
          label: "Output Folder",
          description: "Where the files go; every worker must be able to write there. What is finished there is not made again" },
        { key: "prompts_per_task", type: "int32", default: 10, propargs: { min: 1, max: 1000 }, visible: "submission",
          description: "Number of lines that one worker makes in one go. The models are loaded once for each task" },
        { key: "format", type: "string", default: "glb",
          choices: ["glb", "usd", "usdc", "usda", "fbx", "obj", "ply", "npz"],
          description: "What to write for lines that do not say it: ply and npz hold the point cloud, the others a mesh" },
        { key: "models", type: "string", default: "starter",
          choices: ["starter", "official-text", "cap3d-text", "official-40M", "official-300M", "official-1B", "official-imagevec"],
          description: "Model set for lines that do not say it; the workers must have it" },
        { key: "quality", type: "string", default: "fast", choices: ["fast", "high", "exact"],
          description: "Quality for lines that do not say it; exact repeats the official program step by step" },
        { key: "options", type: "string", default: "", label: "Further Options",
          description: "Other options of blender --command pointe, such as: --count 4 --size 0.5 --points 16384" },

        // What the workers get: a script has no access to files, and // starts a path only inside a .blend file.
        { key: "prompts_path", type: "string", visible: "web", eval: "str(abspath(settings.prompts))",
          description: "Full path of the prompts file" },
        { key: "output_path", type: "string", visible: "web", eval: "str(abspath(settings.output))",
          description: "Full path of the output folder" },
        { key: "lines", type: "int32", visible: "web",
          eval: "Path(abspath(settings.prompts)).read_bytes().count(b'\\n') + 1",
          description: "Number of lines of the prompts file, empty ones included" },
    ]
};

function compileJob(job) {
    const settings = job.settings;
    if (!settings.prompts_path || !settings.output_path || !(settings.lines > 0)) {
        throw "The settings prompts_path, output_path and lines are missing: submit the job with Flamenco's Blender add-on, or give them.";
    }
    // The lines are divided anew by whoever runs a task, so some tasks may be smaller, or empty.
    const count = Math.ceil(settings.lines / settings.prompts_per_task);
    for (let number = 1; number <= count; number++) {
        job.addTask(authorTask(settings, `${number}/${count}`));
    }
}

function authorTask(settings, shard) {
    const task = author.Task(`prompts-${shard}`, "blender");
    // Of all commands only this one looks for "Saved: 'picture.png'" and shows the picture in the web interface.
    task.addCommand(author.Command("blender-render", {
        exe: "{blender}",
        exeArgs: "{blenderArgs}",
        argsBefore: [],
        blendfile: "",
        args: [
            "--command", "pointe",
            // Paths stand alone: two-way variables are found at the beginning of an argument.
            "--prompts", settings.prompts_path,
            "--output", settings.output_path,
            "--shard", shard,
            "--format", settings.format,
            "--models", settings.models,
            "--quality", settings.quality,
            "--previews",
            ...shellSplit(settings.options || ""),
        ],
    }));
    return task;
}
