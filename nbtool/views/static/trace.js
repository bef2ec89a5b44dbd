/**
 * The live trace: a tree of steps beside a waterfall, fed by a kernel.
 *
 * Three layers, each of which knows only those before it:
 *
 * - `Store` holds what the kernel said: steps, totals, state. One for each model.
 * - `Outline` says which steps show, in which order and how deep. It knows no element.
 * - `View` and its parts draw. One for each place that shows the model.
 *
 * What the kernel sends is hostile: an LM, a tool or a document wrote it. It reaches the page as
 * text (`textContent`, `title`, `aria-label`) and as numbers that were checked, and in no other
 * way; tests/views/test_static_files.py holds this file to that.
 *
 * @typedef {"module" | "predict" | "lm" | "tool" | "adapter" | "function" | "group"} Kind
 * @typedef {"running" | "ok" | "error" | "cancelled"} Status
 * @typedef {{cached?: boolean, retries?: number, shared?: boolean, paused?: string,
 *   depth_cut?: boolean}} Flags
 * @typedef {{steps?: number, lm_calls?: number, tokens?: [number, number], errors?: number,
 *   cost_usd?: number | null, cached?: number, wall_s?: number, lm_s?: number, running?: number,
 *   dropped?: number}} Totals
 * @typedef {{cmd: string, label: string, title?: string, enabled?: boolean, id?: number}} Command
 * @typedef {{step: number, place: string, verbs: unknown[], kind?: unknown, name?: unknown,
 *   note?: unknown, error?: unknown, repeats?: unknown}} Stop One branch that waits for a person.
 * @typedef {{ok: boolean, note: string}} Told What came of a command.
 * @typedef {{what: string, values: Record<string, unknown>, fixed: unknown[]}} Editable
 * @typedef {{title?: string, state?: string, buttons?: Command[], notice?: string | null,
 *   stops?: unknown, waits_for?: unknown}} Ui
 * @typedef {Record<string, unknown>} Section One part of the details, as the kernel sent it.
 * @typedef {{sections: Section[], json: string, python: string}} Detail
 * @typedef {{get(name: string): unknown, send(content: object): void,
 *   on(name: string, callback: (...args: any[]) => void): void,
 *   off(name: string, callback: (...args: any[]) => void): void}} Model
 *   What anywidget hands over; another proxy at each call, so it cannot be a key.
 */

const VERSION = 1;
const ROW_PX = 20;
const LINE_PX = 18;
const MOST_PX = 360;
const INDENT_PX = 14;
const MOST_INDENTS = 32;
const MOST_LINES = 4; // of an answer, below its row
const OVERSCAN_PX = MOST_LINES * LINE_PX + 8; // more than such a text is high
// When more answers grow at a time, each shows its end in its own row instead of below it.
const MOST_BOXES = 4;
const LIVE_CHARS = 20_000;
const BRIEF_CHARS = 160;
const SHOWN_CHARS = 100_000;
const ANNOUNCED_CHARS = 200;
const TOOLS_FROM_ROWS = 12;
const KEPT_DETAILS = 20;
const SLOW_S = 1;
const TICK_MS = 250;
const TYPING_MS = 120;
const COPIED_MS = 1_500;
const MOST_STOPS = 5; // branches with buttons; the tree has all that wait
const MOST_ROWS = 14; // of a field in which a person edits
const ASK_AGAIN_MS = 2_000;
// Messages are late by that much at times; what is older even at best comes from another clock.
const CLOCK_DOUBT_S = 2;
const REST_PER_OUTLINE = 10; // times as long as laying out the tree took
const TICK_PX = 60;
const TICKS = [1, 2, 5];
const LEAPS = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
// Tells this page from the one that it was before it was reloaded.
const PAGE = Math.random().toString(36).slice(2);
const NOTE_OF_VERSION =
  "This view and the kernel speak different versions of the protocol: " +
  "restart the kernel, then reload the page.";

/** @type {ReadonlySet<unknown>} */
const KINDS = new Set(["module", "predict", "lm", "tool", "adapter", "function", "group"]);
/** @type {ReadonlySet<unknown>} */
const STATUSES = new Set(["running", "ok", "error", "cancelled"]);
/** @type {ReadonlySet<unknown>} */
const STATES = new Set(["running", "pausing", "paused", "ended"]);
/** @type {ReadonlySet<unknown>} */
const ROLES = new Set(["system", "developer", "user", "assistant", "tool"]);
/** @type {ReadonlyMap<unknown, string>} */
const PAUSES = new Map([
  ["before", "paused before"],
  ["after", "paused after"],
  ["failed", "failed, waits"],
  ["inside", "paused inside"],
]);
/** @type {ReadonlyMap<unknown, [string, string]>} Label and title of what one can do at a stop. */
const VERBS = new Map([
  ["retry", ["Retry", "Run this step again, as the notebook defines it now"]],
  ["step_into", ["Step into", "Go on to the next step of this branch"]],
  ["step_over", ["Step over", "Go on to the end of this step"]],
  ["step_out", ["Step out", "Go on to the end of the step around this one"]],
  ["edit_inputs", ["Edit inputs", "Change what this step is given"]],
  ["edit_output", ["Edit output", "Change what this step gave"]],
  ["skip", ["Skip", "Do not run this step: write what it gives"]],
  ["raise", ["Raise", "Let the error go on its way"]],
  ["resume", ["Resume this", "Let this branch go on while the others wait"]],
]);
const FILTERED_KINDS = [
  ["", "All kinds"],
  ["lm", "LM calls"],
  ["tool", "Tools"],
  ["module", "Modules"],
  ["predict", "Predictors"],
  ["function", "Functions"],
];
// What one does to a selected text; a notebook would take these for commands about cells.
const TEXT_KEYS = new Set(["a", "c", "v", "x"]);
const EDITOR_KEYS = new Set([...TEXT_KEYS, "y", "z", "Enter"]);

/** @param {unknown} value @returns {value is string} */
const isText = (value) => typeof value === "string";
/** @param {unknown} value @returns {value is number} */
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
/** @param {unknown} value @returns {value is number} */
const isId = (value) => Number.isSafeInteger(value);
/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** @param {unknown} value @returns {value is Command} */
const isCommand = (value) => isObject(value) && isText(value.cmd) && isText(value.label);
/** @param {unknown} value @returns {value is Stop} */
const isStop = (value) =>
  isObject(value) && isId(value.step) && PAUSES.has(value.place) && Array.isArray(value.verbs);
/** @param {unknown} value */
const isPair = (value) => Array.isArray(value) && value.length === 2 && value.every(isNumber);
/** @param {unknown} value @returns {unknown[]} */
const listed = (value) => (Array.isArray(value) ? value : []);
/** @param {number} value @param {number} least @param {number} most */
const clamped = (value, least, most) => Math.min(most, Math.max(least, value));

/**
 * Read one place of a row: null leaves what was there, false clears it, nonsense is ignored.
 *
 * @template T
 * @param {unknown} sent @param {T} old @param {T} cleared @param {(value: unknown) => boolean} fits
 * @returns {T}
 */
function next(sent, old, cleared, fits) {
  if (sent === false) return cleared;
  return fits(sent) ? /** @type {T} */ (sent) : old;
}

/** Decode a buffer of JSON; null for anything else. @param {unknown} bytes */
function parsed(bytes) {
  const isBuffer = bytes instanceof ArrayBuffer || ArrayBuffer.isView(bytes);
  if (!isBuffer || bytes.byteLength === 0) return null;
  try {
    /** @type {unknown} */
    const body = JSON.parse(new TextDecoder().decode(bytes));
    return isObject(body) ? body : null;
  } catch (error) {
    console.warn("nbtool: the kernel sent something that is no JSON", error);
    return null;
  }
}

/** One step, as far as the kernel has told of it. */
class Step {
  /** @type {Step | null} */
  parent = null;
  /** @type {Step[]} By start. */
  kids = [];
  name = "";
  /** @type {Kind} */
  kind = "function";
  start = 0;
  /** @type {number | null} */
  end = null;
  /** @type {Status} */
  status = "running";
  given = "";
  gave = "";
  /** @type {[number, number] | null} */
  tokens = null;
  /** @type {number | null} */
  cost = null;
  /** @type {Flags} */
  flags = {};
  /** What an LM has answered so far. */
  text = "";
  /** The length of that as Python counts it: in characters, not in UTF-16 units. */
  chars = 0;
  /** Grows with every change, for those who keep what they made of the step. */
  version = 0;

  /** @param {number} id @param {number} order In which steps became known. */
  constructor(id, order) {
    this.id = id;
    this.order = order;
  }

  get isRunning() {
    return this.status === "running" && this.end === null;
  }

  /** Whether its answer is being made in sight. */
  get isGrowing() {
    return this.text !== "" && this.isRunning;
  }

  get state() {
    return this.flags.paused ? "paused" : this.status;
  }

  /** Seconds that it took, or has taken. @param {number} now */
  lasted(now) {
    const end = this.end ?? (this.isRunning ? now : this.start);
    return Math.max(0, end - this.start);
  }

  /** @param {unknown[]} row */
  take(row) {
    this.name = next(row[2], this.name, "", isText);
    this.kind = next(row[3], this.kind, "function", (value) => KINDS.has(value));
    this.start = next(row[4], this.start, 0, isNumber);
    this.end = next(row[5], this.end, null, isNumber);
    this.status = next(row[6], this.status, "running", (value) => STATUSES.has(value));
    this.given = next(row[7], this.given, "", isText);
    this.gave = next(row[8], this.gave, "", isText);
    this.tokens = next(row[9], this.tokens, null, isPair);
    this.cost = next(row[10], this.cost, null, isNumber);
    this.flags = next(row[11], this.flags, {}, isObject);
    this.version += 1;
  }

  /** @param {string} piece */
  grow(piece) {
    this.text += piece;
    for (const _ of piece) this.chars += 1;
    this.version += 1;
  }

  /** Put a step below this one, after those that started earlier. @param {Step} kid */
  adopt(kid) {
    let at = this.kids.length;
    while (at > 0 && /** @type {Step} */ (this.kids[at - 1]).start > kid.start) at -= 1;
    this.kids.splice(at, 0, kid);
    kid.parent = this;
  }

  /** Forget the kids that have gone elsewhere. */
  release() {
    this.kids = [...new Set(this.kids.filter((kid) => kid.parent === this))];
  }

  /** @param {Step} ancestor */
  isWithin(ancestor) {
    for (let at = /** @type {Step | null} */ (this); at; at = at.parent) {
      if (at === ancestor) return true;
    }
    return false;
  }
}

/** What the kernel said. Messages are numbered, so that one that got lost is missed. */
class Store {
  /** @type {Map<number, Step>} */
  steps = new Map();
  /** The parent of the roots; it shows nowhere. */
  top = new Step(0, -1);
  seq = 0;
  isLoaded = false;
  /** Grows when other steps show, or elsewhere. */
  shape = 0;
  /** @type {Totals} */
  totals = {};
  /** @type {Ui} */
  ui = {};
  /** Grows whenever the kernel speaks of buttons and state. */
  uiVersion = 0;
  /** @type {Map<number, Detail>} */
  details = new Map();
  /** @type {Map<number, Told>} What came of commands, by the step that they were for; else by 0. */
  told = new Map();
  /** @type {Map<number, Editable>} */
  editables = new Map();
  /** @type {Step[]} Since this list was last emptied. */
  failed = [];
  /** @type {Set<() => void>} */
  listeners = new Set();
  first = Infinity;
  last = -Infinity;
  runningCount = 0;
  #count = 0;
  #youngest = Infinity;
  #askedAt = -Infinity;
  #isBehind = false;
  #hasWanted = false;

  /** @param {(message: object) => void} send */
  constructor(send) {
    this.send = send;
  }

  /** Seconds since 1970 by the kernel's clock; the page's, unless messages prove that one wrong. */
  now() {
    const age = this.#youngest;
    const isWrong = age < 0 || (age > CLOCK_DOUBT_S && age !== Infinity);
    return Date.now() / 1000 - (isWrong ? age : 0);
  }

  get isRunning() {
    return this.runningCount > 0 && this.ui.state !== "ended";
  }

  /** Ask for the values of steps in large groups, which come without: nobody looks at most. */
  wantAll() {
    if (this.#hasWanted) return;
    this.#hasWanted = true;
    this.send({ t: "want" });
  }

  /** @type {Stop[]} */
  get stops() {
    return this.ui.state === "ended" ? [] : listed(this.ui.stops).filter(isStop);
  }

  /**
   * @param {string} cmd @param {number} [id] Of the step that it is for.
   * @param {Record<string, unknown>} [given]
   */
  command(cmd, id, given = {}) {
    this.told.delete(id ?? 0);
    this.send(id === undefined ? { t: "cmd", cmd } : { t: "cmd", cmd, id, ...given });
  }

  /** Ask for what an editor of a step starts with. @param {number} id */
  wantEditable(id) {
    this.editables.delete(id);
    this.send({ t: "edit", id });
  }

  hello() {
    this.#askedAt = performance.now();
    this.send({ t: "hello", have: this.seq, page: PAGE });
  }

  /** @param {unknown} message @param {unknown} buffers */
  receive(message, buffers) {
    const body = parsed(listed(buffers)[0]);
    if (!isObject(message) || !body) return;
    if (message.t === "d") this.#takeDelta(message, body);
    else if (message.t === "s") this.#takeSnapshot(body);
    else if (message.t === "detail") this.#takeDetail(message, body);
    else if (message.t === "told") this.#takeTold(message, body);
    else if (message.t === "editable") this.#takeEditable(message, body);
    for (const listener of this.listeners) listener();
  }

  /** Take the state that came with the model, if it is ahead. @param {unknown} bytes */
  load(bytes) {
    const body = parsed(bytes);
    if (!body || !isId(body.seq) || (this.isLoaded && body.seq <= this.seq)) return;
    this.#takeSnapshot(body);
    for (const listener of this.listeners) listener();
  }

  /** @param {Record<string, unknown>} message @param {Record<string, unknown>} body */
  #takeTold({ id }, { ok, note }) {
    if (isId(id)) this.told.set(id, { ok: ok === true, note: isText(note) ? note : "" });
    this.uiVersion += 1;
  }

  /** @param {Record<string, unknown>} message @param {Record<string, unknown>} body */
  #takeEditable({ id }, { what, values, fixed }) {
    if (!isId(id)) return;
    const shown = isObject(values) ? values : {};
    this.editables.set(id, { what: isText(what) ? what : "", values: shown, fixed: listed(fixed) });
    this.uiVersion += 1;
  }

  /** @param {Record<string, unknown>} message @param {Record<string, unknown>} body */
  #takeDelta({ from, to }, body) {
    if (!isId(from) || !isId(to) || to <= this.seq) return;
    if (from !== this.seq || this.#isBehind) return this.#catchUp();
    this.isLoaded = true;
    this.#takeRows(listed(body.rows), true);
    // A text that does not fit leaves `seq` as it was, so that the kernel sees what is missing.
    if (!this.#takeTexts(listed(body.text))) return this.#catchUp();
    this.#drop(listed(body.gone));
    this.#takeState(body);
    this.seq = to;
  }

  /** Ask for everything, and leave deltas alone until it comes. */
  #catchUp() {
    if (this.#isBehind && performance.now() - this.#askedAt < ASK_AGAIN_MS) return;
    this.#isBehind = true;
    this.hello();
  }

  /** @param {Record<string, unknown>} body */
  #takeSnapshot(body) {
    if (!isId(body.seq) || (this.isLoaded && !this.#isBehind && body.seq === this.seq)) return;
    this.#isBehind = false;
    this.isLoaded = true;
    this.seq = body.seq;
    this.steps = new Map();
    this.top = new Step(0, -1);
    this.first = Infinity;
    this.last = -Infinity;
    this.runningCount = 0;
    this.shape += 1;
    this.#takeRows(listed(body.rows), false);
    this.#takeTexts(listed(body.text));
    this.#takeState(body);
    if (isNumber(body.dropped)) this.totals = { dropped: body.dropped, ...this.totals };
  }

  /** @param {Record<string, unknown>} body */
  #takeState({ totals, ui }) {
    if (isObject(totals)) this.totals = totals;
    if (!isObject(ui)) return;
    this.ui = ui;
    this.uiVersion += 1;
  }

  /** @param {unknown[]} rows @param {boolean} isNews Whether it just happened. */
  #takeRows(rows, isNews) {
    /** @type {[Step, unknown][]} */
    const moves = [];
    for (const row of rows) {
      if (!Array.isArray(row) || !isId(row[0])) continue;
      let step = this.steps.get(row[0]);
      if (!step || (row[1] !== null && row[1] !== undefined)) {
        step ??= this.#makeStep(row[0]);
        moves.push([step, row[1]]);
      }
      this.#takeRow(step, row, isNews);
    }
    this.#move(moves);
  }

  /** @param {number} id */
  #makeStep(id) {
    const step = new Step(id, this.#count++);
    this.steps.set(id, step);
    this.runningCount += 1;
    return step;
  }

  /** @param {Step} step @param {unknown[]} row @param {boolean} isNews */
  #takeRow(step, row, isNews) {
    const { isRunning, isGrowing, status, version, end } = step;
    step.take(row);
    this.runningCount += Number(step.isRunning) - Number(isRunning);
    this.first = Math.min(this.first, step.start);
    this.last = Math.max(this.last, step.end ?? step.start);
    if (step.kind === "adapter" || isGrowing !== step.isGrowing) this.shape += 1;
    if (!isNews) return;
    if (step.status === "error" && status !== "error") this.failed.push(step);
    if (step.kind === "group") return; // its times are those of steps before it
    if (version === 0 || end !== step.end) this.#compareClocks(step.end ?? step.start);
  }

  /** @param {number} happened_s */
  #compareClocks(happened_s) {
    this.#youngest = Math.min(this.#youngest, Date.now() / 1000 - happened_s);
  }

  /** Put steps below their parents, which are known by now. @param {[Step, unknown][]} moves */
  #move(moves) {
    /** @type {Set<Step>} */
    const left = new Set();
    for (const [step, parentId] of moves) {
      const named = isId(parentId) ? this.steps.get(parentId) : undefined;
      const parent = named && !named.isWithin(step) ? named : this.top;
      if (step.parent === parent) continue;
      if (step.parent) left.add(step.parent);
      parent.adopt(step);
      this.shape += 1;
    }
    for (const parent of left) parent.release();
  }

  /** @param {unknown[]} texts @returns {boolean} Whether each fits what was there. */
  #takeTexts(texts) {
    for (const text of texts) {
      const [id, offset, piece] = listed(text);
      const step = isId(id) ? this.steps.get(id) : undefined;
      if (!step || !isText(piece) || !piece) continue;
      if (offset !== step.chars) return false;
      if (!step.text) this.shape += 1;
      step.grow(piece);
    }
    return true;
  }

  /** @param {unknown[]} ids */
  #drop(ids) {
    /** @type {Set<Step>} */
    const left = new Set();
    for (const id of ids) {
      const step = isId(id) ? this.steps.get(id) : undefined;
      if (!step) continue;
      this.steps.delete(step.id);
      this.details.delete(step.id);
      this.runningCount -= Number(step.isRunning);
      this.shape += 1;
      if (step.parent) left.add(step.parent);
      step.parent = null;
      for (const kid of step.kids) if (kid.parent === step) this.top.adopt(kid);
    }
    for (const parent of left) parent.release();
  }

  /** @param {Record<string, unknown>} message @param {Record<string, unknown>} body */
  #takeDetail({ id, part }, body) {
    if (!isId(id)) return;
    const before = isNumber(part) && part > 0 ? this.details.get(id) : undefined;
    const sections = listed(body.sections).filter(isObject);
    this.details.delete(id); // else it would keep its old place in the row of those to forget
    this.details.set(id, {
      sections: [...(before?.sections ?? []), ...sections],
      json: isText(body.json) ? body.json : (before?.json ?? ""),
      python: isText(body.python) ? body.python : (before?.python ?? ""),
    });
    const oldest = this.details.keys().next().value;
    if (this.details.size > KEPT_DETAILS && oldest !== undefined) this.details.delete(oldest);
  }
}

/** What a person asked to see. */
class Lens {
  words = "";
  kind = "";
  errors = false;
  slow = false;
  plumbing = false;
  /** @type {RegExp | null} */
  pattern = null;
  /** Grows when the person asks for something else. */
  version = 0;

  /** @param {Partial<Pick<Lens, "words" | "kind" | "errors" | "slow" | "plumbing">>} changes */
  change(changes) {
    Object.assign(this, changes);
    const literal = this.words.trim().replace(/[.*+?^${}()|[\]\\]/gu, "\\$&");
    this.pattern = literal ? new RegExp(literal, "iu") : null;
    this.version += 1;
  }

  get isNarrow() {
    return this.pattern !== null || this.kind !== "" || this.errors || this.slow;
  }

  /** @param {Step} step */
  hides(step) {
    return step.kind === "adapter" && step.status !== "error" && !this.plumbing;
  }

  /** Whether a step passes, its words aside. @param {Step} step @param {number} now */
  passes(step, now) {
    if (this.hides(step) || (this.kind && step.kind !== this.kind)) return false;
    return (!this.errors || step.status === "error") && (!this.slow || step.lasted(now) >= SLOW_S);
  }

  /** @param {Step} step */
  finds({ name, given, gave, text }) {
    const { pattern } = this;
    return !pattern || [name, given, gave, text].some((words) => pattern.test(words));
  }
}

/** The steps that show, parents before children. Its lists are indexed by the row. */
class Outline {
  /** @type {Step[]} */
  steps = [];
  /** @type {number[]} */
  depths = [];
  /** @type {number[]} Rows of the parents; -1 above roots. */
  ups = [];
  /** @type {number[]} Among siblings, from 1. */
  places = [];
  /** @type {number[]} How many rows stand right below row n, at n + 1; those of roots at 0. */
  sizes = [];
  /** @type {Step[]} Those whose answers grow. */
  growing = [];
  /** @type {Map<Step, number>} */
  rows = new Map();
  /** How many steps the lens picked. */
  hits = 0;
  /** @type {Set<Step> | null} Those and all above them; null when nothing is left out. */
  #wanted = null;
  /** @type {Map<Step, {version: number, isFound: boolean}>} */
  #found = new Map();
  /** @type {Map<Step, boolean>} */
  #opening = new Map();
  /** @type {Map<number, boolean>} What a person closed (true) and opened (false). */
  #folds = new Map();
  /** @type {Map<number, boolean>} The same while the lens is narrow: then all is open at first. */
  #narrowFolds = new Map();
  #lensVersion = -1;
  /** @type {{spans: [number, number][], count: number} | null} */
  #sequence = null;

  /** @param {Store} store @param {Lens} lens */
  constructor(store, lens) {
    this.store = store;
    this.lens = lens;
  }

  /** @param {number} now */
  build(now) {
    if (this.#lensVersion !== this.lens.version) {
      this.#lensVersion = this.lens.version;
      this.#found.clear();
      this.#narrowFolds.clear();
    }
    this.#wanted = this.lens.isNarrow ? this.#pick(now) : null;
    this.#sequence = null;
    this.#opening.clear();
    this.rows.clear();
    const { steps, depths, ups, places, sizes, growing } = this;
    for (const list of [steps, depths, ups, places, sizes, growing]) list.length = 0;
    this.#walk();
  }

  /** Without recursion: a chain may be deeper than the stack of the page. */
  #walk() {
    const levels = [{ kids: this.store.top.kids, at: 0, depth: 0, up: -1 }];
    for (let level = levels.at(-1); level; level = levels.at(-1)) {
      const step = level.kids[level.at++];
      if (!step) {
        levels.pop();
      } else if (this.#wanted && !this.#wanted.has(step)) {
        continue;
      } else if (this.lens.hides(step)) {
        levels.push({ kids: step.kids, at: 0, depth: level.depth, up: level.up });
      } else {
        const row = this.#add(step, level.depth, level.up);
        if (step.kids.length === 0 || this.isFolded(step)) continue;
        levels.push({ kids: step.kids, at: 0, depth: level.depth + 1, up: row });
      }
    }
  }

  /** @param {Step} step @param {number} depth @param {number} up */
  #add(step, depth, up) {
    const row = this.steps.length;
    const place = (this.sizes[up + 1] ?? 0) + 1;
    this.steps.push(step);
    this.depths.push(depth);
    this.ups.push(up);
    this.places.push(place);
    this.sizes[up + 1] = place;
    this.rows.set(step, row);
    if (step.isGrowing) this.growing.push(step);
    return row;
  }

  /** @param {number} now */
  #pick(now) {
    /** @type {Set<Step>} */
    const wanted = new Set();
    this.hits = 0;
    for (const step of this.store.steps.values()) {
      if (!this.lens.passes(step, now) || !this.#finds(step)) continue;
      this.hits += 1;
      for (let at = /** @type {Step | null} */ (step); at && !wanted.has(at); at = at.parent) {
        wanted.add(at);
      }
    }
    return wanted;
  }

  /** @param {Step} step */
  #finds(step) {
    const before = this.#found.get(step);
    if (before && before.version === step.version) return before.isFound;
    const isFound = this.lens.finds(step);
    this.#found.set(step, { version: step.version, isFound });
    return isFound;
  }

  /** @param {Step} step */
  isFolded(step) {
    if (this.#wanted) return this.#narrowFolds.get(step.id) ?? false;
    return this.#folds.get(step.id) ?? step.kind === "group";
  }

  /** @param {Step} step @param {boolean} isFolded */
  fold(step, isFolded) {
    if (!isFolded && step.kind === "group") this.store.wantAll();
    (this.#wanted ? this.#narrowFolds : this.#folds).set(step.id, isFolded);
  }

  /** Open all steps, or close all but the roots. @param {boolean} isFolded */
  foldAll(isFolded) {
    for (const step of this.store.steps.values()) {
      if (step.kids.length) this.fold(step, isFolded && step.parent !== this.store.top);
    }
  }

  /** Whether rows stand, or would stand, below the step's. @param {Step} step */
  opens(step) {
    const known = this.#opening.get(step);
    if (known !== undefined) return known;
    const opens = this.#looksBelow(step);
    this.#opening.set(step, opens);
    return opens;
  }

  /** @param {Step} step */
  #looksBelow(step) {
    const lists = [step.kids];
    for (const kids of lists) {
      for (const kid of kids) {
        if (this.#wanted && !this.#wanted.has(kid)) continue;
        if (!this.lens.hides(kid)) return true;
        lists.push(kid.kids);
      }
    }
    return false;
  }

  /** How many rows have the same parent. @param {number} row */
  siblings(row) {
    return this.sizes[(this.ups[row] ?? -1) + 1] ?? 1;
  }

  /**
   * The sequence scale: a row without rows below it is one unit wide, in the order of opening; any
   * other spans what is below it.
   */
  get sequence() {
    if (this.#sequence) return this.#sequence;
    const ends = [...this.steps.keys()].filter((row) => !this.sizes[row + 1]);
    ends.sort((a, b) => (this.steps[a]?.order ?? 0) - (this.steps[b]?.order ?? 0));
    /** @type {[number, number][]} */
    const spans = this.steps.map(() => [Infinity, 0]);
    ends.forEach((row, unit) => (spans[row] = [unit, unit + 1]));
    for (let row = spans.length - 1; row >= 0; row -= 1) {
      const [from, to] = spans[row] ?? [0, 0];
      const above = spans[this.ups[row] ?? -1];
      above?.splice(0, 2, Math.min(above[0], from), Math.max(above[1], to));
    }
    this.#sequence = { spans, count: Math.max(1, ends.length) };
    return this.#sequence;
  }
}

/** @param {number} value */
const grouped = (value) => Math.round(value).toLocaleString("en-US");
/** @param {number} count @param {string} noun */
const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
/** @param {[number, number]} tokens */
const exchanged = ([sent, received]) => `${grouped(sent)} → ${grouped(received)}`;

/** @param {number} duration_s */
function seconds(duration_s) {
  if (duration_s < 0.9995) return `${Math.round(duration_s * 1000)} ms`;
  if (duration_s < 59.995) return `${duration_s.toFixed(2)} s`;
  const whole = Math.round(duration_s);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** @param {number} usd */
function dollars(usd) {
  if (usd <= 0) return "$0";
  if (usd < 0.0001) return "<$0.0001";
  return `$${usd.toFixed(usd < 1 ? 4 : 2)}`;
}

/** The next round number that is not smaller. @param {number} value @param {number[]} factors */
function rounded(value, factors) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-6)));
  return power * (factors.find((factor) => factor * power >= value) ?? 10);
}

/** @param {number} at_s @param {number} step_s */
function tickText(at_s, step_s) {
  if (at_s === 0) return "0";
  if (step_s < 0.5) return `${Number((at_s * 1000).toFixed(2))} ms`;
  if (at_s < 60) return `${Number(at_s.toFixed(1))} s`;
  const whole = Math.round(at_s);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Say what all steps together took. @param {Totals} totals @param {number} wall_s */
function summary(totals, wall_s) {
  const { steps = 0, lm_calls = 0, tokens, cost_usd, cached = 0, errors = 0, lm_s = 0 } = totals;
  const parts = [counted(steps, "step"), counted(lm_calls, "LM call")];
  if (tokens && (tokens[0] || tokens[1])) parts.push(`${exchanged(tokens)} tokens`);
  if (isNumber(cost_usd)) parts.push(dollars(cost_usd));
  if (cached) parts.push(`${grouped(cached)} cached`);
  if (errors) parts.push(counted(errors, "error"));
  parts.push(lm_s >= 0.0005 ? `${seconds(wall_s)} (LM ${seconds(lm_s)})` : seconds(wall_s));
  return parts;
}

/** @param {Step} step */
const nameOf = (step) => step.name || "(no name)";
/** @param {Step} step */
const kindOf = (step) => (step.kind === "lm" ? "LM" : step.kind);

/** What is said in a row beside the name. @param {Step} step */
function briefOf(step) {
  if (!step.isGrowing) return step.gave || step.given;
  return step.text.slice(-BRIEF_CHARS).replace(/\s+/gu, " ").trimStart();
}

/** @param {Step} step */
function pillsOf(step) {
  const { cached, retries, shared, paused, depth_cut } = step.flags;
  const pills = [];
  if (paused) pills.push(PAUSES.get(paused) ?? "paused");
  if (cached) pills.push("cached");
  if (shared) pills.push("shared");
  if (isNumber(retries) && retries > 0) pills.push(`sent ${grouped(retries + 1)}×`);
  if (depth_cut) pills.push("deeper steps left out");
  return pills;
}

/** @param {Step} step @param {number} now */
function factsOf(step, now) {
  const facts = [kindOf(step), step.state, seconds(step.lasted(now))];
  if (step.tokens) facts.push(`${exchanged(step.tokens)} tokens`);
  if (step.cost !== null) facts.push(dollars(step.cost));
  return [...facts, ...pillsOf(step)];
}

/** What is known before the kernel has sent all. @param {Step} step @returns {Section[]} */
function previewOf({ given, gave }) {
  const texts = [["Given", given], ["Gave", gave]].filter(([, text]) => text);
  return texts.map(([title, text]) => ({ title, kind: "text", text }));
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {string} className A literal of this file. @param {string} [text]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function make(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** @param {string} label @param {() => void} act @param {string} [title] */
function button(label, act, title = "") {
  const element = make("button", "nbt-button", label);
  element.type = "button";
  if (title) element.title = title;
  element.addEventListener("click", act);
  return element;
}

/** @param {string} label @param {string} title @param {(isOn: boolean) => void} act */
function toggle(label, title, act) {
  const element = button(label, () => act(press(element, !isPressed(element))), title);
  press(element, false);
  return element;
}

/** @param {Element} element */
const isPressed = (element) => element.getAttribute("aria-pressed") === "true";

/** @param {Element} element @param {boolean} isOn */
function press(element, isOn) {
  element.setAttribute("aria-pressed", String(isOn));
  return isOn;
}

/**
 * Write only what is new: a text that stays costs no layout.
 *
 * @param {Node} node @param {string} text
 */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Write with what was searched for set off.
 *
 * @param {Element} node @param {string} text @param {RegExp?} pattern
 */
function writeMarked(node, text, pattern) {
  const found = pattern?.exec(text);
  if (!found) return write(node, text);
  const end = found.index + found[0].length;
  const mark = make("mark", "nbt-mark", found[0]);
  node.replaceChildren(text.slice(0, found.index), mark, text.slice(end));
}

/** One row of the tree. It stays with its step while that is in sight. */
class RowView {
  element = make("div", "nbt-row");
  #label = make("span", "nbt-label");
  #icon = make("span", "nbt-icon");
  #name = make("bdi", "nbt-name");
  #kind = make("span", "nbt-kind");
  #pills = make("span", "nbt-pills");
  #brief = make("bdi", "nbt-brief");
  #bar = make("span", "nbt-bar");
  #time = make("span", "nbt-time");
  #tokens = make("span", "nbt-tokens");
  #cost = make("span", "nbt-cost");
  #key = "";

  /** @param {string} id */
  constructor(id) {
    const lane = make("span", "nbt-lane");
    lane.append(this.#bar);
    const twist = make("span", "nbt-twist");
    this.#label.append(twist, this.#icon, this.#name, this.#kind, this.#pills, this.#brief);
    this.#icon.setAttribute("role", "img");
    this.element.id = id;
    this.element.setAttribute("role", "treeitem");
    this.element.append(this.#label, lane, this.#time, this.#tokens, this.#cost);
  }

  /**
   * @param {Outline} outline @param {number} row
   * @param {{isSelected: boolean, isBoxed: boolean, now: number}} state
   */
  show(outline, row, { isSelected, isBoxed, now }) {
    const step = /** @type {Step} */ (outline.steps[row]);
    const isOpen = outline.opens(step) ? !outline.isFolded(step) : null;
    const depth = outline.depths[row] ?? 0;
    const [place, size] = [outline.places[row] ?? 1, outline.siblings(row)];
    const at = step.isRunning ? now : 0;
    const standing = [depth, place, size, isOpen, isSelected, isBoxed];
    const key = [step.id, step.version, outline.lens.version, at, ...standing].join(" ");
    if (this.#key === key) return;
    this.#key = key;
    this.#describe({ depth, place, size, isOpen, isSelected });
    this.#fill(step, outline.lens.pattern, isBoxed, now);
  }

  /**
   * @param {{depth: number, place: number, size: number, isOpen: boolean | null,
   *   isSelected: boolean}} standing
   */
  #describe({ depth, place, size, isOpen, isSelected }) {
    const { element } = this;
    element.setAttribute("aria-level", String(depth + 1));
    element.setAttribute("aria-posinset", String(place));
    element.setAttribute("aria-setsize", String(size));
    element.setAttribute("aria-selected", String(isSelected));
    if (isOpen === null) element.removeAttribute("aria-expanded");
    else element.setAttribute("aria-expanded", String(isOpen));
    this.#label.style.paddingLeft = `${4 + INDENT_PX * Math.min(depth, MOST_INDENTS)}px`;
  }

  /** @param {Step} step @param {RegExp?} pattern @param {boolean} isBoxed @param {number} now */
  #fill(step, pattern, isBoxed, now) {
    this.element.dataset.kind = step.kind;
    this.element.dataset.status = step.state;
    this.element.dataset.cached = String(step.flags.cached === true);
    this.#icon.setAttribute("aria-label", step.state);
    this.#name.title = step.name;
    writeMarked(this.#name, nameOf(step), pattern);
    write(this.#kind, kindOf(step));
    this.#pills.replaceChildren(...pillsOf(step).map((pill) => make("span", "nbt-pill", pill)));
    writeMarked(this.#brief, isBoxed ? "" : briefOf(step), pattern);
    write(this.#time, seconds(step.lasted(now)));
    write(this.#tokens, step.tokens ? exchanged(step.tokens) : "");
    write(this.#cost, step.cost === null ? "" : dollars(step.cost));
  }

  /** @param {number} y In pixels. @param {[number, number]} bar Left and width, in per cent. */
  place(y, [left, width]) {
    this.element.style.transform = `translateY(${y}px)`;
    this.#bar.style.left = `${left.toFixed(3)}%`;
    this.#bar.style.width = `${width.toFixed(3)}%`;
  }
}

/** The last lines of an answer that is being made, below its row. */
class GrowingText {
  // The row says who speaks and the details hold it all: nobody needs to hear each word as well.
  element = make("div", "nbt-growing");
  #text = make("div", "nbt-growing-text");
  #lines = 1;
  #chars = -1;
  #isMeasured = true;

  /** @param {Step} step */
  constructor(step) {
    this.step = step;
    this.element.setAttribute("aria-hidden", "true");
    this.element.append(this.#text);
  }

  get height() {
    return this.#lines * LINE_PX + 2;
  }

  /** @param {number} y @param {number} depth */
  show(y, depth) {
    const { style } = this.element;
    style.transform = `translateY(${y}px)`;
    style.height = `${this.height - 2}px`;
    style.paddingLeft = `${38 + INDENT_PX * Math.min(depth, MOST_INDENTS)}px`;
    if (this.#chars === this.step.chars) return;
    this.#chars = this.step.chars;
    this.#isMeasured = false;
    this.#text.textContent = this.step.text.slice(-LIVE_CHARS).trimStart();
  }

  /** Make room for the lines that there are. @returns {boolean} Whether that took more. */
  measure() {
    if (this.#isMeasured) return false;
    this.#isMeasured = true;
    const before = this.#lines;
    const lines = Math.round(this.#text.offsetHeight / LINE_PX);
    this.#lines = clamped(lines, before, MOST_LINES);
    return this.#lines !== before;
  }
}

/** The rows in sight, whatever the number of all of them. */
class Tree {
  element = make("div", "nbt-tree");
  #sheet = make("div", "nbt-sheet");
  /** @type {Step | null} */
  selected = null;
  /** Whether the end of the tree stays in sight. */
  isFollowing = true;
  height = 0;
  /** @type {Map<Step, RowView>} */
  #views = new Map();
  /** @type {RowView[]} */
  #spare = [];
  #made = 0;
  /** @type {Map<Step, GrowingText>} From top to bottom. */
  #boxes = new Map();

  /** @param {Outline} outline @param {string} id */
  constructor(outline, id) {
    this.outline = outline;
    this.id = id;
    const { element } = this;
    element.tabIndex = 0;
    element.setAttribute("role", "tree");
    element.setAttribute("aria-label", "Steps");
    this.#sheet.setAttribute("role", "presentation");
    element.append(this.#sheet);
    const follow = () => {
      const rest = element.scrollHeight - element.scrollTop - element.clientHeight;
      this.isFollowing = rest <= ROW_PX;
    };
    element.addEventListener("scroll", follow, { passive: true });
  }

  /** @param {Step} step */
  #rowOf(step) {
    return this.outline.rows.get(step) ?? 0;
  }

  /** Pixels above a row. @param {number} row */
  #topOf(row) {
    let top = row * ROW_PX;
    for (const [step, box] of this.#boxes) if (this.#rowOf(step) < row) top += box.height;
    return top;
  }

  /** The row at some pixel, or one no further off than a text is high. @param {number} y */
  #rowAt(y) {
    let texts = 0;
    for (const [step, box] of this.#boxes) {
      if ((this.#rowOf(step) + 1) * ROW_PX + texts + box.height > y) break;
      texts += box.height;
    }
    return Math.max(0, Math.floor((y - texts) / ROW_PX));
  }

  /** Bring a row into sight. @param {number} row */
  reveal(row) {
    const top = this.#topOf(row);
    const { element } = this;
    if (top < element.scrollTop) element.scrollTop = top;
    const lowest = top + ROW_PX - this.height;
    if (lowest > element.scrollTop) element.scrollTop = lowest;
  }

  /**
   * @param {number} now @param {boolean} isRunning
   * @param {(row: number) => [number, number]} barOf
   */
  draw(now, isRunning, barOf) {
    this.#arrangeBoxes();
    const total = this.#topOf(this.outline.steps.length);
    // While steps come and go it does not shrink, so that the page below it stands still.
    const height = Math.max(Math.min(total, MOST_PX), isRunning ? this.height : 0);
    if (height !== this.height) this.element.style.height = `${height}px`;
    this.height = height;
    this.#sheet.style.height = `${total}px`;
    const end = Math.max(0, total - height);
    if (this.isFollowing && end) this.element.scrollTop = end;
    const scrolled = clamped(this.element.scrollTop, 0, end);
    const first = this.#rowAt(scrolled - OVERSCAN_PX);
    const last = this.#rowAt(scrolled + height + OVERSCAN_PX) + 1;
    this.#drawRows(first, Math.min(last, this.outline.steps.length), now, barOf);
  }

  #arrangeBoxes() {
    const { growing } = this.outline;
    const before = this.#boxes;
    const below = growing.length <= MOST_BOXES ? growing : [];
    this.#boxes = new Map(below.map((step) => [step, before.get(step) ?? new GrowingText(step)]));
    for (const [step, box] of before) if (!this.#boxes.has(step)) box.element.remove();
    for (const [step, box] of this.#boxes) {
      const row = this.#rowOf(step);
      if (!box.element.isConnected) this.element.append(box.element);
      box.show(this.#topOf(row) + ROW_PX, this.outline.depths[row] ?? 0);
    }
  }

  /**
   * @param {number} first @param {number} last @param {number} now
   * @param {(row: number) => [number, number]} barOf
   */
  #drawRows(first, last, now, barOf) {
    this.#takeBack(first, last);
    // In the order of the rows, for readers of screens; what is in place is not moved.
    let place = this.#sheet.firstElementChild;
    for (let row = first; row < last; row += 1) {
      const step = /** @type {Step} */ (this.outline.steps[row]);
      const view = this.#viewOf(step);
      if (view.element === place) place = place.nextElementSibling;
      else this.#sheet.insertBefore(view.element, place);
      const isSelected = step === this.selected;
      view.show(this.outline, row, { isSelected, isBoxed: this.#boxes.has(step), now });
      view.place(this.#topOf(row), barOf(row));
    }
    const active = this.selected && this.#views.get(this.selected);
    if (active) this.element.setAttribute("aria-activedescendant", active.element.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** @param {number} first @param {number} last */
  #takeBack(first, last) {
    for (const [step, view] of this.#views) {
      const row = this.outline.rows.get(step) ?? -1;
      if (row >= first && row < last) continue;
      view.element.remove();
      this.#views.delete(step);
      this.#spare.push(view);
    }
  }

  /** @param {Step} step */
  #viewOf(step) {
    const known = this.#views.get(step);
    if (known) return known;
    const view = this.#spare.pop() ?? new RowView(`${this.id}-${this.#made++}`);
    this.#views.set(step, view);
    return view;
  }

  /** Make room for answers that have grown. @returns {boolean} Whether one took more. */
  measure() {
    return [...this.#boxes.values()].map((box) => box.measure()).includes(true);
  }

  /** The step whose row was hit. @param {Element} target */
  stepAt(target) {
    const element = target.closest(".nbt-row");
    for (const [step, view] of this.#views) if (view.element === element) return step;
    return null;
  }
}

/** The names of the columns, and the ruler of the bars. */
class Axis {
  element = make("div", "nbt-axis");
  /** How far one tick is from the next, in per cent. */
  grid = 100;
  #lane = make("span", "nbt-lane");
  #start = 0;
  #end = 0;
  #width = 400;
  #drawn = "";

  constructor() {
    this.element.setAttribute("aria-hidden", "true");
    this.element.append(
      make("span", "nbt-label", "Step"),
      this.#lane,
      make("span", "nbt-time", "Time"),
      make("span", "nbt-tokens", "Tokens"),
      make("span", "nbt-cost", "Cost"),
    );
  }

  resize() {
    this.#width = this.#lane.clientWidth || this.#width;
  }

  /**
   * Take in all steps. While some run the end moves in leaps, so that bars stand still.
   *
   * @param {Store} store @param {number} now
   */
  fit({ first, last, isRunning }, now) {
    const fits = this.#start === first && now <= this.#end;
    this.#start = first;
    if (!isRunning) this.#end = Math.max(last, first + 0.001);
    else if (!fits) this.#end = first + rounded(Math.max(0.2, (now - first) * 1.1), LEAPS);
  }

  /** @param {Step} step @param {number} now @returns {[number, number]} */
  place(step, now) {
    const percent = 100 / (this.#end - this.#start);
    const left = clamped((step.start - this.#start) * percent, 0, 100);
    return [left, clamped(step.lasted(now) * percent, 0, 100 - left)];
  }

  /** @param {number | null} units Of a sequence; null for time. */
  draw(units) {
    const whole = units ?? this.#end - this.#start;
    if (!(whole > 0 && whole < Infinity)) return;
    const most = Math.max(1, Math.floor(this.#width / TICK_PX));
    const step = rounded(Math.max(whole / most, units === null ? 0 : 1), TICKS);
    const key = `${whole} ${step} ${units}`;
    if (this.#drawn === key) return;
    this.#drawn = key;
    const marks = Array.from({ length: Math.ceil((whole * 0.96) / step) }, (_, at) => at * step);
    const texts = marks.map((at) => (units === null ? tickText(at, step) : grouped(at + 1)));
    const ticks = marks.map((at, place) => tick(texts[place] ?? "", (at / whole) * 100));
    this.#lane.replaceChildren(...ticks);
    this.grid = (step / whole) * 100;
  }
}

/** @param {string} text @param {number} left In per cent. */
function tick(text, left) {
  const element = make("span", "nbt-tick", text);
  element.style.left = `${left.toFixed(3)}%`;
  return element;
}

/** The line on top: state, the kernel's buttons, totals. */
class Head {
  element = make("div", "nbt-head");
  #state = make("span", "nbt-state");
  #title = make("bdi", "nbt-title");
  #buttons = make("span", "nbt-buttons");
  #totals = make("span", "nbt-totals");
  /** @type {Map<string, {element: HTMLButtonElement, command: Command}>} */
  #known = new Map();
  #uiVersion = -1;

  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    this.#buttons.setAttribute("role", "toolbar");
    this.#buttons.setAttribute("aria-label", "Run");
    this.element.append(this.#state, this.#title, this.#buttons, this.#totals);
  }

  /** @param {number} now */
  draw(now) {
    const { ui, totals, uiVersion, isRunning, first, top } = this.store;
    const wall_s = Math.max(totals.wall_s ?? 0, isRunning ? now - first : 0);
    write(this.#totals, summary(totals, wall_s).join(" · "));
    this.#state.dataset.failed = String(top.kids.some((root) => root.status === "error"));
    if (uiVersion === this.#uiVersion) return;
    this.#uiVersion = uiVersion;
    const state = isText(ui.state) ? ui.state : "";
    this.#state.dataset.state = STATES.has(state) ? state : "";
    write(this.#state, state);
    write(this.#title, isText(ui.title) ? ui.title : "");
    this.#drawButtons(listed(ui.buttons).filter(isCommand));
  }

  /**
   * Keep the buttons that stay: replaced under the pointer they would miss its click.
   *
   * @param {Command[]} commands
   */
  #drawButtons(commands) {
    const names = new Set(commands.map(({ cmd }) => cmd));
    for (const [name, { element }] of this.#known) {
      if (names.has(name)) continue;
      element.remove();
      this.#known.delete(name);
    }
    for (const [at, command] of commands.entries()) {
      const { element } = this.#update(command);
      if (this.#buttons.children[at] !== element) {
        this.#buttons.insertBefore(element, this.#buttons.children[at] ?? null);
      }
    }
  }

  /** @param {Command} command */
  #update(command) {
    const known = this.#known.get(command.cmd) ?? this.#makeButton(command);
    known.command = command;
    known.element.title = isText(command.title) ? command.title : "";
    known.element.disabled = command.enabled === false;
    known.element.classList.remove("nbt-sent");
    write(known.element, command.label);
    return known;
  }

  /** @param {Command} command */
  #makeButton(command) {
    const send = () => {
      const { cmd, id } = known.command;
      known.element.classList.add("nbt-sent"); // until the kernel tells what came of it
      this.store.command(cmd, isId(id) ? id : undefined);
    };
    const known = { command, element: button(command.label, send) };
    this.#known.set(command.cmd, known);
    return known;
  }
}

/** @param {unknown} value */
const isMessages = (value) =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((each) => isObject(each) && isText(each.role) && isText(each.content));

/** One value that a person edits: a text as it is, messages one by one, all else as JSON. */
class Field {
  element = make("fieldset", "nbt-field");
  /** @type {HTMLTextAreaElement[]} */
  #areas = [];
  #before = "";

  /** @param {string} name @param {unknown} value @param {boolean} isFixed */
  constructor(name, value, isFixed) {
    this.name = name;
    this.value = value;
    this.isFixed = isFixed;
    this.element.append(make("legend", "nbt-role", isFixed ? `${name} (cannot be edited)` : name));
    if (isMessages(value)) {
      for (const each of listed(value).filter(isObject)) this.#add(String(each.role), each.content);
    } else this.#add("", isText(value) ? value : JSON.stringify(value, null, 2));
    this.#before = this.#texts().join("\0");
  }

  /** @param {string} label @param {unknown} text */
  #add(label, text) {
    const area = make("textarea", "nbt-area");
    area.value = isText(text) ? text : "";
    area.rows = clamped(area.value.split("\n").length, 1, MOST_ROWS);
    area.spellcheck = false;
    area.readOnly = this.isFixed;
    area.setAttribute("aria-label", `${this.name} ${label}`.trim());
    if (label) this.element.append(make("bdi", "nbt-role", label));
    this.element.append(area);
    this.#areas.push(area);
  }

  #texts() {
    return this.#areas.map((area) => area.value);
  }

  get isChanged() {
    return !this.isFixed && this.#texts().join("\0") !== this.#before;
  }

  /** What stands there now; a SyntaxError where that is no JSON. @returns {unknown} */
  read() {
    const texts = this.#texts();
    if (isMessages(this.value)) {
      const messages = listed(this.value).filter(isObject);
      return messages.map((each, at) => ({ ...each, content: texts[at] ?? "" }));
    }
    return isText(this.value) ? texts[0] : JSON.parse(texts[0] ?? "");
  }

  focus() {
    this.#areas[0]?.focus({ preventScroll: true });
  }
}

/** Where a person changes what a step is given, or writes what it gives. */
class Editor {
  element = make("form", "nbt-editor");
  #fault = make("p", "nbt-error");
  #fields = make("div", "nbt-fields");
  /** @type {Field[]} */
  #list = [];

  /**
   * @param {string} verb @param {(given: Record<string, unknown>) => void} apply
   * @param {() => void} close
   */
  constructor(verb, apply, close) {
    this.verb = verb;
    this.apply = apply;
    const ok = button(verb === "skip" ? "Skip with this" : "Apply", () => this.#submit());
    this.#fault.setAttribute("role", "alert");
    this.element.append(this.#fields, this.#fault, ok, button("Cancel", close, "Escape"));
    this.element.addEventListener("submit", (event) => event.preventDefault());
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#submit();
      else if (event.key === "Escape") close();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    if (verb === "skip") this.#fill([new Field("result, as JSON or as plain text", "", false)]);
  }

  /** @param {Editable} editable */
  show({ values, fixed }) {
    if (this.#list.length) return;
    const fields = Object.entries(values).map(
      ([name, value]) => new Field(name, value, fixed.includes(name)),
    );
    this.#fill(fields);
    if (!fields.length) this.say("There is nothing here that can be edited.");
  }

  /** @param {Field[]} fields */
  #fill(fields) {
    this.#list = fields;
    this.#fields.replaceChildren(...fields.map(({ element }) => element));
    fields.find(({ isFixed }) => !isFixed)?.focus();
  }

  /** @param {string} fault */
  say(fault) {
    write(this.#fault, fault);
  }

  #submit() {
    this.say("");
    try {
      this.apply(this.#read());
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error));
    }
  }

  #read() {
    if (this.verb === "skip") return { output: jsonOf(String(this.#list[0]?.read())) };
    /** @type {Record<string, unknown>} */
    const changed = {};
    for (const field of this.#list.filter(({ isChanged }) => isChanged)) {
      try {
        changed[field.name] = field.read();
      } catch (error) {
        throw new Error(`${field.name} is no JSON: ${error instanceof Error ? error.message : ""}`);
      }
    }
    if (!Object.keys(changed).length) throw new Error("Nothing was changed.");
    const isOutput = this.verb === "edit_output";
    return isOutput
      ? { output: JSON.stringify(changed.output) }
      : { inputs: JSON.stringify(changed) };
  }
}

/** Take a text for JSON if it is, else for itself. @param {string} text */
function jsonOf(text) {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

/** One branch that waits: where, why, and what can be done about it. */
class StopLine {
  element = make("div", "nbt-stop");
  #place = make("span", "nbt-pill");
  #name = button("", () => this.look(this.id), "Show this step");
  #why = make("bdi", "nbt-why");
  #hint = make("span", "nbt-hint", "Mend it in another cell, then Retry.");
  #buttons = make("span", "nbt-buttons");
  #note = make("p", "nbt-told");
  #drawn = "";
  /** @type {Editor | null} */
  #editor = null;

  /** @param {Store} store @param {number} id @param {(id: number) => void} look */
  constructor(store, id, look) {
    this.store = store;
    this.id = id;
    this.look = look;
    this.#name.className = "nbt-stop-name";
    this.#buttons.setAttribute("role", "toolbar");
    const said = [this.#place, this.#name, this.#why, this.#hint];
    this.element.append(...said, this.#buttons, this.#note);
  }

  /** @param {Stop} stop @param {boolean} isAlone Whether no other branch waits. */
  show(stop, isAlone) {
    const drawn = `${JSON.stringify(stop)} ${isAlone}`;
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#edit(null);
      this.#fill(stop, isAlone);
    }
    this.#answer(this.store.told.get(this.id));
    const editable = this.store.editables.get(this.id);
    if (editable && this.#editor && this.#editor.verb !== "skip") this.#editor.show(editable);
  }

  /** @param {Stop} stop @param {boolean} isAlone */
  #fill({ place, kind, name, error, note, verbs, repeats }, isAlone) {
    this.element.dataset.place = place;
    write(this.#place, PAUSES.get(place) ?? "paused");
    const label = [kind === "lm" ? "LM" : kind, name].filter(isText).join(" ");
    this.#hint.hidden = place !== "failed";
    write(this.#name, label);
    this.#buttons.setAttribute("aria-label", `What to do with ${label}`);
    write(this.#why, [error, note].filter((said) => isText(said) && said).join(" · "));
    const known = [...VERBS.keys()].filter(
      (verb) => verbs.includes(verb) && !(verb === "resume" && isAlone),
    );
    this.#buttons.replaceChildren(...known.map((verb) => this.#button(String(verb), repeats)));
  }

  /** @param {string} verb @param {unknown} repeats */
  #button(verb, repeats) {
    const [label, title] = VERBS.get(verb) ?? [verb, ""];
    const asks = verb === "skip" || verb.startsWith("edit");
    const act = () => (asks ? this.#edit(verb) : this.#send(verb));
    return button(asks ? `${label} …` : label, act, verb === "retry" ? retold(repeats) : title);
  }

  /** @param {string | null} verb */
  #edit(verb) {
    const hadFocus = this.#editor?.element.contains(document.activeElement) === true;
    this.#editor?.element.remove();
    this.#editor = null;
    if (verb) {
      const close = () => this.#edit(null);
      this.#editor = new Editor(verb, (given) => this.#send(verb, given), close);
      this.element.append(this.#editor.element);
      if (verb !== "skip") this.store.wantEditable(this.id);
    } else if (hadFocus) this.#name.focus({ preventScroll: true });
  }

  /** @param {string} verb @param {Record<string, unknown>} [given] */
  #send(verb, given) {
    write(this.#note, "");
    this.store.command(verb, this.id, given);
  }

  /** @param {Told | undefined} told */
  #answer(told) {
    if (!told) return;
    this.store.told.delete(this.id);
    if (told.ok) this.#edit(null);
    if (this.#editor) this.#editor.say(told.note);
    else write(this.#note, told.note);
    this.#note.dataset.ok = String(told.ok);
  }
}

/** Say what a retry runs again, and what it does not. @param {unknown} repeats */
function retold(repeats) {
  const { again, served } = isObject(repeats) ? repeats : {};
  const said = [VERBS.get("retry")?.[1] ?? ""];
  if (listed(again).length) said.push(`Runs again: ${listed(again).join(", ")}.`);
  if (listed(served).length) said.push(`Not again, for it is known: ${listed(served).join(", ")}.`);
  return said.join("\n");
}

/** The branches that wait for a person. */
class Stops {
  element = make("div", "nbt-stops");
  #more = make("p", "nbt-told");
  /** @type {Map<number, StopLine>} */
  #lines = new Map();
  #drawn = "";

  /** @param {Store} store @param {(id: number) => void} look */
  constructor(store, look) {
    this.store = store;
    this.look = look;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "Steps that wait");
    this.element.append(this.#more);
  }

  /** @param {number | undefined} selected Has its line, however many there are. */
  draw(selected) {
    const key = `${this.store.uiVersion} ${selected}`;
    if (this.#drawn === key) return;
    this.#drawn = key;
    const { stops } = this.store;
    const shown = stops.slice(0, MOST_STOPS);
    const chosen = stops.find(({ step }) => step === selected);
    if (chosen && !shown.includes(chosen)) shown.unshift(chosen);
    const ids = new Set(shown.map(({ step }) => step));
    for (const [id, line] of this.#lines) {
      if (ids.has(id)) continue;
      line.element.remove();
      this.#lines.delete(id);
    }
    for (const stop of shown) this.#line(stop.step).show(stop, stops.length === 1);
    const rest = stops.length - shown.length;
    write(this.#more, rest ? `${counted(rest, "more step")} wait; select one in the tree.` : "");
    this.element.hidden = !stops.length;
  }

  /** @param {number} id */
  #line(id) {
    let line = this.#lines.get(id);
    if (!line) {
      line = new StopLine(this.store, id, this.look);
      this.#lines.set(id, line);
      this.element.insertBefore(line.element, this.#more);
    }
    return line;
  }
}

/** Search, filters and scale. */
class Tools {
  element = make("div", "nbt-tools");
  search = make("input", "nbt-search");
  isSequence = false;
  #count = make("span", "nbt-count");

  /** @param {Outline} outline @param {() => void} changed */
  constructor(outline, changed) {
    this.outline = outline;
    this.changed = changed;
    const scale = (/** @type {boolean} */ isOn) => {
      this.isSequence = isOn;
      changed();
    };
    const fold = (/** @type {boolean} */ isFolded) => () => {
      outline.foldAll(isFolded);
      changed();
    };
    this.element.setAttribute("role", "toolbar");
    this.element.setAttribute("aria-label", "Search and filter");
    this.element.append(
      this.#makeSearch(),
      this.#count,
      this.#makeKinds(),
      toggle("Errors", "Only steps that failed", (errors) => this.#look({ errors })),
      toggle("Slow", "Only steps of a second and more", (slow) => this.#look({ slow })),
      toggle("Plumbing", "Also the steps of adapters", (plumbing) => this.#look({ plumbing })),
      make("span", "nbt-gap"),
      toggle("Sequence", "Draw each step one unit wide, however long it took", scale),
      button("Expand", fold(false), "Open all steps"),
      button("Collapse", fold(true), "Close all steps but the outermost"),
    );
  }

  /** @param {Parameters<Lens["change"]>[0]} changes */
  #look(changes) {
    this.outline.lens.change(changes);
    this.changed();
  }

  clear() {
    this.search.value = "";
    this.#look({ words: "" });
  }

  #makeSearch() {
    const { search } = this;
    search.type = "search";
    search.placeholder = "Search ( / )";
    search.setAttribute("aria-label", "Search names and texts");
    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.#look({ words: search.value }), TYPING_MS);
    });
    return search;
  }

  #makeKinds() {
    const kinds = make("select", "nbt-select");
    kinds.setAttribute("aria-label", "Kind of steps");
    for (const [value = "", label = ""] of FILTERED_KINDS) {
      kinds.append(Object.assign(make("option", "", label), { value }));
    }
    kinds.addEventListener("change", () => this.#look({ kind: kinds.value }));
    return kinds;
  }

  draw() {
    const { lens, hits } = this.outline;
    write(this.#count, lens.isNarrow ? `${grouped(hits)} found` : "");
  }
}

/** All about one step: what the kernel sends on request, and until then what is known. */
class Details {
  element = make("section", "nbt-details");
  /** @type {Step | null} */
  step = null;
  #name = make("bdi", "nbt-name");
  #facts = make("span", "nbt-facts");
  #body = make("div", "nbt-details-body");
  #sections = make("div", "");
  #waiting = make("p", "nbt-waiting", "Waiting for the kernel to send the rest …");
  #live = new LiveText();
  #json = copyButton("Copy as JSON", () => this.#reply?.json ?? "");
  #python = copyButton("Copy as Python", () => this.#reply?.python ?? "");
  /** @type {Detail | undefined} */
  #reply;
  /** How the step stood when the kernel was asked. */
  #asked = "";
  #version = -1;

  /** @param {Store} store @param {() => void} close */
  constructor(store, close) {
    this.store = store;
    const head = make("div", "nbt-details-head");
    const closing = button("×", close, "Close (Escape)");
    closing.setAttribute("aria-label", "Close the details");
    head.append(this.#name, this.#facts, this.#json, this.#python, closing);
    this.#body.tabIndex = 0;
    this.#body.append(this.#sections, this.#live.element, this.#waiting);
    this.element.hidden = true;
    this.element.append(head, this.#body);
  }

  /** @param {Step | null} step */
  show(step) {
    if (this.step === step) return;
    this.step = step;
    this.element.hidden = step === null;
    this.#asked = "";
    this.#version = -1;
    this.#body.scrollTop = 0;
    if (step) this.element.setAttribute("aria-label", `Details of ${nameOf(step)}`);
  }

  /** @param {number} now */
  draw(now) {
    if (!this.step) return;
    // A snapshot makes all steps anew; the person still looks at the same one.
    const step = (this.step = this.store.steps.get(this.step.id) ?? this.step);
    this.#ask(step);
    write(this.#facts, factsOf(step, now).join(" · "));
    const reply = this.store.details.get(step.id);
    if (this.#version === step.version && this.#reply === reply) return;
    const isSame = this.#version >= 0 && reply !== undefined && this.#reply === reply;
    this.#version = step.version;
    this.#reply = reply;
    this.#drawHead(step, reply);
    if (!isSame) this.#drawSections(step, reply);
    this.#live.show(step, this.#body);
  }

  /** Ask the kernel, and again when the step has moved on. @param {Step} step */
  #ask({ id, status, end, flags }) {
    const standing = `${status} ${end} ${flags.paused}`;
    if (this.#asked === standing) return;
    this.#asked = standing;
    this.store.send({ t: "detail", id });
  }

  /** @param {Step} step @param {Detail | undefined} reply */
  #drawHead(step, reply) {
    this.element.dataset.kind = step.kind;
    this.element.dataset.status = step.state;
    write(this.#name, nameOf(step));
    this.#json.disabled = !reply?.json;
    this.#python.disabled = !reply?.python;
    this.#waiting.hidden = reply !== undefined;
  }

  /** @param {Step} step @param {Detail | undefined} reply */
  #drawSections(step, reply) {
    const scrolled = this.#body.scrollTop;
    // What has arrived stands below them, and grows.
    const sections = (reply?.sections ?? previewOf(step)).filter(
      ({ title }) => !(step.isGrowing && title === "So far"),
    );
    this.#sections.replaceChildren(...sections.map(sectionElement));
    this.#body.scrollTop = scrolled;
  }
}

/** The whole answer while it is made; it only ever appends, for answers get long. */
class LiveText {
  element = make("div", "nbt-live");
  #text = document.createTextNode("");
  /** @type {Step | null} */
  #step = null;

  constructor() {
    const text = make("pre", "nbt-text");
    text.append(this.#text);
    this.element.append(make("div", "nbt-section-title", "Answer so far"), text);
  }

  /** @param {Step} step @param {Element} scroller */
  show(step, scroller) {
    this.element.hidden = !step.isGrowing;
    if (!step.isGrowing) return;
    const isAtEnd = scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - LINE_PX;
    if (this.#step !== step) this.#text.data = "";
    this.#step = step;
    this.#text.appendData(step.text.slice(this.#text.length));
    if (isAtEnd) scroller.scrollTop = scroller.scrollHeight;
  }
}

/** @param {Section} section */
function sectionElement(section) {
  const element = make("details", "nbt-section");
  element.open = true;
  const title = isText(section.title) ? section.title : "…";
  element.append(make("summary", "nbt-section-title", title), ...sectionParts(section));
  return element;
}

/** @param {Section} section @returns {HTMLElement[]} */
function sectionParts({ kind, text, messages, rows, type, message, traceback }) {
  if (kind === "messages") return listed(messages).filter(isObject).map(messageElement);
  if (kind === "table") return [tableElement(listed(rows))];
  if (kind !== "error") return [textElement(isText(text) ? text : "")];
  const said = make("p", "nbt-error", [type, message].filter(isText).join(": "));
  return isText(traceback) ? [said, textElement(traceback)] : [said];
}

/** @param {Record<string, unknown>} message */
function messageElement({ role, text }) {
  const element = make("div", "nbt-message");
  if (isText(role) && ROLES.has(role)) element.dataset.role = role;
  element.append(make("bdi", "nbt-role", isText(role) ? role : "?"));
  element.append(textElement(isText(text) ? text : ""));
  return element;
}

/** @param {unknown[]} rows */
function tableElement(rows) {
  const table = make("table", "nbt-table");
  for (const row of rows) {
    const [name = "", value = ""] = listed(row).map((cell) => (isText(cell) ? cell : String(cell)));
    const heading = make("th", "", name);
    heading.scope = "row";
    const line = make("tr", "");
    line.append(heading, make("td", "", value));
    table.append(line);
  }
  return table;
}

/** Show a text; of a very long one the rest on request. @param {string} text */
function textElement(text) {
  const element = make("pre", "nbt-text", text.slice(0, SHOWN_CHARS));
  if (text.length > SHOWN_CHARS) {
    const label = `Show all ${grouped(text.length)} characters`;
    element.append(" … ", button(label, () => write(element, text)));
  }
  return element;
}

/** @param {string} label @param {() => string} textOf */
function copyButton(label, textOf) {
  const element = button(label, async () => {
    write(element, (await copy(textOf())) ? "Copied" : "The browser refused");
    setTimeout(() => write(element, label), COPIED_MS);
  });
  element.disabled = true;
  return element;
}

/** @param {string} text @returns {Promise<boolean>} */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page that came by http from another machine has no clipboard, but it has the old way.
    const area = make("textarea", "nbt-clipboard");
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }
}

let viewCount = 0;

/** All that shows in one place. */
class View {
  // No formulas are set in here: by MathJax 2 and by those after it.
  #root = make("div", "nbt tex2jax_ignore mathjax_ignore");
  #notice = make("div", "nbt-notice");
  #empty = make("div", "nbt-empty", "No step has started yet.");
  #said = make("div", "nbt-said");
  #axis = new Axis();
  #lens = new Lens();
  #filter = toggle("Filter", "Search and filter steps", (isOn) => this.#showTools(isOn));
  #sizes = new ResizeObserver(() => this.#resize());
  #sight = new IntersectionObserver((entries) => this.#look(entries.at(-1)));
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #isInSight = true;
  #areToolsChosen = false;
  #wasRunning = false;
  /** @type {Set<number>} */
  #stopped = new Set();
  #isRemoved = false;
  #frame = 0;
  #timer = 0;
  #shape = -1;
  #isStale = true;
  #outlinedAt = -Infinity;
  #outlineTook = 0;
  #tickedAt = -Infinity;
  #now = 0;

  /** @param {Store} store @param {HTMLElement} place */
  constructor(store, place) {
    this.store = store;
    this.place = place;
    this.outline = new Outline(store, this.#lens);
    this.head = new Head(store);
    this.stops = new Stops(store, (id) => this.#lookAt(id));
    this.tools = new Tools(this.outline, () => this.#rearrange());
    this.tree = new Tree(this.outline, `nbt-${(viewCount += 1)}`);
    this.details = new Details(store, () => this.#close());
    this.head.element.append(this.#filter);
    this.#openTools(false);
    this.#said.setAttribute("role", "status");
    this.#said.setAttribute("aria-live", "polite");
    // JupyterLab's single-letter commands act on cells: they are not for keys that go to the tree.
    this.#root.setAttribute("data-lm-suppress-shortcuts", "true");
    this.#root.append(
      this.head.element, this.#notice, this.stops.element, this.tools.element, this.#axis.element, this.tree.element,
      this.#empty, this.details.element, this.#said,
    );
    this.#listen();
    place.append(this.#root);
    this.#draw(performance.now());
  }

  wake = () => {
    if (!this.#isRemoved) this.#frame ||= requestAnimationFrame((at) => this.#draw(at));
  };

  #listen() {
    this.store.listeners.add(this.wake);
    this.#sizes.observe(this.#root);
    this.#sight.observe(this.#root);
    this.#root.addEventListener("keydown", (event) => this.#key(event));
    this.tree.element.addEventListener("click", (event) => this.#click(event));
    this.tree.element.addEventListener("scroll", this.wake, { passive: true });
  }

  remove() {
    this.#isRemoved = true;
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.store.listeners.delete(this.wake);
    this.#sizes.disconnect();
    this.#sight.disconnect();
    this.#root.remove();
  }

  #resize() {
    this.#axis.resize();
    this.wake();
  }

  /** @param {IntersectionObserverEntry | undefined} entry */
  #look(entry) {
    this.#isInSight = entry?.isIntersecting ?? true;
    this.wake();
  }

  /** @param {number} at */
  #draw(at) {
    this.#frame = 0;
    if (at - this.#tickedAt >= TICK_MS) {
      this.#tickedAt = at;
      this.#now = this.store.now();
      this.#isStale ||= this.#lens.slow && this.store.isRunning;
    }
    this.#say();
    if (!this.#isInSight) return;
    this.#lay(at);
    this.#drawParts();
    if (this.tree.measure()) this.wake();
    this.#schedule();
  }

  /** Lay out a tree that changed; one that takes long is laid out less often. @param {number} at */
  #lay(at) {
    const isChanging = this.#lens.isNarrow && this.store.isRunning;
    if (this.#shape !== this.store.shape || isChanging) this.#isStale = true;
    if (!this.#isStale || at - this.#outlinedAt < REST_PER_OUTLINE * this.#outlineTook) return;
    this.#outline(at);
    const { selected } = this.tree;
    if (selected) this.tree.selected = this.store.steps.get(selected.id) ?? null;
    const isMuch = this.outline.steps.length >= TOOLS_FROM_ROWS;
    if (isMuch && !this.#areToolsChosen) this.#showTools(true);
  }

  /** Lay out the tree as it is now. @param {number} at */
  #outline(at) {
    const began = performance.now();
    this.outline.build(this.#now);
    this.#outlineTook = performance.now() - began;
    this.#outlinedAt = at;
    this.#shape = this.store.shape;
    this.#isStale = false;
  }

  #drawParts() {
    const { store, outline } = this;
    const { tokens, cost_usd } = store.totals;
    this.#root.dataset.tokens = String(Boolean(tokens?.some(Boolean)));
    this.#root.dataset.costs = String(isNumber(cost_usd));
    const exact = this.#calm.matches ? this.#now : store.now();
    const sequence = this.tools.isSequence ? outline.sequence : null;
    this.#axis.fit(store, exact);
    this.#axis.draw(sequence?.count ?? null);
    this.tree.element.style.setProperty("--nbt-grid", `${this.#axis.grid.toFixed(3)}%`);
    this.head.draw(this.#now);
    this.tools.draw();
    this.#drawNotice();
    this.stops.draw(this.tree.selected?.id);
    this.#empty.hidden = store.steps.size > 0;
    this.tree.draw(this.#now, store.isRunning, (row) => {
      if (!sequence) return this.#axis.place(/** @type {Step} */ (outline.steps[row]), exact);
      const [from, to] = sequence.spans[row] ?? [0, 0];
      return [(from / sequence.count) * 100, ((to - from) / sequence.count) * 100];
    });
    this.details.draw(this.#now);
  }

  #drawNotice() {
    const { ui, totals, told } = this.store;
    const notices = isText(ui.notice) ? [ui.notice] : [];
    const awaited = listed(ui.waits_for).filter(isText);
    if (ui.state === "pausing" && awaited.length) {
      notices.push(`Waits for ${awaited.join(", ")} to end.`);
    }
    const note = told.get(0)?.note;
    if (note) notices.push(note);
    if (totals.dropped) {
      notices.push(`${counted(totals.dropped, "old step")} left out to save memory.`);
    }
    write(this.#notice, notices.join(" "));
    this.#notice.hidden = !notices.length;
  }

  /** Tell readers of screens about failures and the end, and of nothing else. */
  #say() {
    const { failed, totals, isRunning } = this.store;
    const hasEnded = this.#wasRunning && !isRunning;
    this.#wasRunning = isRunning;
    const [first, ...others] = failed.splice(0);
    const news = [];
    if (first) news.push(`${nameOf(first)} failed: ${first.gave}`.slice(0, ANNOUNCED_CHARS));
    if (others.length) news.push(`${grouped(others.length)} more failed.`);
    for (const { step, place, kind, name } of this.store.stops) {
      if (!this.#stopped.has(step)) news.push(`${kind} ${name}: ${PAUSES.get(place)}.`);
    }
    this.#stopped = new Set(this.store.stops.map(({ step }) => step));
    if (hasEnded) news.push(`Ended: ${summary(totals, totals.wall_s ?? 0).join(", ")}.`);
    if (news.length) write(this.#said, news.join(" "));
  }

  /** Come again while steps run: at each frame for bars, else as often as numbers change. */
  #schedule() {
    clearTimeout(this.#timer);
    if (this.store.isRunning && !this.#calm.matches) this.wake();
    else if (this.store.isRunning || this.#isStale) this.#timer = setTimeout(this.wake, TICK_MS);
  }

  /** Show another arrangement at once: a person asked for it. */
  #rearrange() {
    if (this.#lens.pattern) this.store.wantAll();
    this.#isStale = true;
    this.#outlinedAt = -Infinity;
    this.tree.height = 0;
    this.wake();
  }

  /** @param {boolean} isOn */
  #showTools(isOn) {
    this.#areToolsChosen = true;
    this.#openTools(isOn);
  }

  /** @param {boolean} isOn */
  #openTools(isOn) {
    this.tools.element.hidden = !press(this.#filter, isOn);
  }

  /** @param {MouseEvent} event */
  #click({ target }) {
    const step = target instanceof Element ? this.tree.stepAt(target) : null;
    if (!step || !(target instanceof Element)) return;
    if (target.closest(".nbt-twist") && this.outline.opens(step)) {
      return this.#fold(step, !this.outline.isFolded(step));
    }
    this.#select(step);
    this.details.show(step);
  }

  /** @param {Step} step @param {boolean} isFolded */
  #fold(step, isFolded) {
    this.outline.fold(step, isFolded);
    this.tree.isFollowing = false;
    this.#rearrange();
  }

  /** @param {Step} step */
  #select(step) {
    this.tree.selected = step;
    this.tree.isFollowing = false;
    this.tree.reveal(this.outline.rows.get(step) ?? 0);
    if (this.details.step) this.details.show(step);
    this.wake();
  }

  /** Show a step wherever it is, with its details. @param {number} id */
  #lookAt(id) {
    const step = this.store.steps.get(id);
    if (!step) return;
    for (let at = step.parent; at; at = at.parent) {
      if (this.outline.isFolded(at)) this.outline.fold(at, false);
    }
    this.#rearrange();
    this.#outline(performance.now());
    this.#select(step);
    this.details.show(step);
  }

  #close() {
    this.details.show(null);
    this.tree.element.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const isShortcut = event.ctrlKey || event.metaKey || (event.shiftKey && event.key === "Enter");
    const ours = event.target instanceof HTMLTextAreaElement ? EDITOR_KEYS : TEXT_KEYS;
    if (isShortcut && !ours.has(event.key)) return handOver(event, this.place);
    event.stopPropagation();
    const isMeant = event.key === "Escape" ? this.#escape(event.target) : this.#command(event);
    if (isMeant) event.preventDefault();
  }

  /** @param {EventTarget | null} target */
  #escape(target) {
    if (target === this.tools.search) {
      this.tools.clear();
      this.tree.element.focus({ preventScroll: true });
    } else if (this.details.step) this.#close();
    else return false;
    return true;
  }

  /** @param {KeyboardEvent} event @returns {boolean} Whether the key means something. */
  #command({ key, target }) {
    const fields = [HTMLInputElement, HTMLSelectElement, HTMLTextAreaElement];
    if (key === "/" && !fields.some((field) => target instanceof field)) {
      this.#showTools(true);
      this.tools.search.focus();
      return true;
    }
    return target === this.tree.element && this.#walk(key);
  }

  /** @param {string} key */
  #walk(key) {
    // Keys may come faster than frames: the second one is about what the first one has opened.
    if (this.#isStale) this.#outline(performance.now());
    const { steps, rows } = this.outline;
    const row = (this.tree.selected && rows.get(this.tree.selected)) ?? -1;
    const page = Math.max(1, Math.floor(this.tree.height / ROW_PX) - 1);
    /** @type {Map<string, () => number>} */
    const targets = new Map([
      ["ArrowDown", () => row + 1],
      ["ArrowUp", () => row - 1],
      ["PageDown", () => row + page],
      ["PageUp", () => row - page],
      ["Home", () => 0],
      ["End", () => steps.length - 1],
      ["ArrowRight", () => this.#inward(row)],
      ["ArrowLeft", () => this.#outward(row)],
      ["Enter", () => this.#open(row)],
    ]);
    const target = targets.get(key);
    if (!target || !steps.length) return false;
    this.#select(/** @type {Step} */ (steps[clamped(target(), 0, steps.length - 1)]));
    return true;
  }

  /** Open a closed row, else go to the first one below it. @param {number} row */
  #inward(row) {
    const step = this.outline.steps[row];
    if (!step || !this.outline.opens(step)) return row;
    if (!this.outline.isFolded(step)) return row + 1;
    this.#fold(step, false);
    return row;
  }

  /** Close an open row, else go to the one above it. @param {number} row */
  #outward(row) {
    const step = this.outline.steps[row];
    const up = this.outline.ups[row] ?? -1;
    if (!step || !this.outline.opens(step) || this.outline.isFolded(step)) return up < 0 ? row : up;
    this.#fold(step, true);
    return row;
  }

  /** @param {number} row */
  #open(row) {
    this.details.show(this.outline.steps[Math.max(0, row)] ?? null);
    return row;
  }
}

/**
 * Let the notebook have keys with Ctrl or Cmd (save, run) although the focus is in here.
 *
 * @param {KeyboardEvent} event @param {HTMLElement} place
 */
function handOver(event, place) {
  event.stopPropagation();
  if (!place.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
}

/**
 * Follow a model.
 *
 * @param {Store} store @param {Model} model
 * @returns {() => void} Ends it.
 */
function follow(store, model) {
  if (model.get("version") !== VERSION) {
    store.ui = { notice: NOTE_OF_VERSION };
    return () => {};
  }
  /** @param {unknown} message @param {unknown} buffers */
  const receive = (message, buffers) => store.receive(message, buffers);
  const load = () => store.load(model.get("snapshot"));
  const comeBack = () => document.visibilityState === "visible" && store.hello();
  model.on("msg:custom", receive);
  model.on("change:snapshot", load);
  document.addEventListener("visibilitychange", comeBack);
  window.addEventListener("online", comeBack);
  load();
  store.hello();
  return () => {
    model.off("msg:custom", receive);
    model.off("change:snapshot", load);
    document.removeEventListener("visibilitychange", comeBack);
    window.removeEventListener("online", comeBack);
  };
}

/**
 * Make the two functions of a widget; anywidget calls this once for each model.
 *
 * Source: the Anywidget Front-End Module (AFM) contract of anywidget 0.9.
 */
export default () => {
  /** @type {Store} */
  let store;
  return {
    /** @param {{model: Model}} context */
    initialize({ model }) {
      store = new Store((message) => model.send(message));
      return follow(store, model);
    },
    /** @param {{el: HTMLElement}} context */
    render({ el }) {
      const view = new View(store, el);
      return () => view.remove();
    },
  };
};
