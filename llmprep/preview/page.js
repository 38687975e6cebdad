"use strict";
// What moves on a page of llmprep's: sizes of windows, batches and their order, how a word is merged.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const tokens = [...document.querySelectorAll("#strip .t")];
  const ids = [...tokens.map((token) => Number(token.dataset.i)), ...data.more]; // the first have a text here, too
  const SVG = $("map").namespaceURI;

  // --- arithmetic: as llmprep.windows.coverage and .contexts ------------------------------------------
  const countWindows = (n, length, stride) => Math.max(0, Math.floor((n - 1 - length) / stride) + 1);

  function cover(n, length, stride) {
    const windows = countWindows(n, length, stride);
    if (windows === 0) return { n_tokens: n, n_windows: 0, n_input: 0, n_target: 0, n_used: 0, n_gap: 0, n_tail: n, overlap: 0 };
    const reach = (windows - 1) * stride;
    const n_input = stride <= length ? reach + length : windows * length;
    const n_used = stride <= length ? reach + length + 1 : windows * (length + 1);
    const n_tail = n - (reach + length + 1);
    return { n_tokens: n, n_windows: windows, n_input, n_target: n_input, n_used, n_gap: n - n_tail - n_used, n_tail, overlap: Math.max(0, length - stride) };
  }

  function targetCount(token, n, length, stride) { // windows k with k * stride < token <= k * stride + length
    const first = Math.max(0, Math.ceil((token - length) / stride));
    const last = Math.min(countWindows(n, length, stride) - 1, Math.floor((token - 1) / stride));
    return Math.max(0, last - first + 1);
  }

  function longestContexts(n, length, stride) {
    const windows = countWindows(n, length, stride);
    return Array.from({ length }, (_, k) => (k >= length - stride ? windows : Math.min(windows, 1)));
  }

  function seesAcross(row) {
    let seen = false, across = false;
    return row.map((id) => {
      across = across || (seen && id === data.eot);
      seen = seen || id !== data.eot;
      return across;
    });
  }

  // --- the order of a DataLoader: torch's generator, MT19937 --------------------------------------------
  function generator(seed) {
    const state = new Uint32Array(624);
    state[0] = seed;
    for (let k = 1; k < 624; k += 1) state[k] = Math.imul(1812433253, state[k - 1] ^ (state[k - 1] >>> 30)) + k;
    let place = 624;
    return () => {
      if (place === 624) {
        for (let k = 0; k < 624; k += 1) {
          const joined = (state[k] & 0x80000000) | (state[(k + 1) % 624] & 0x7fffffff);
          state[k] = state[(k + 397) % 624] ^ (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0);
        }
        place = 0;
      }
      let drawn = state[place];
      place += 1;
      drawn ^= drawn >>> 11;
      drawn ^= (drawn << 7) & 0x9d2c5680;
      drawn ^= (drawn << 15) & 0xefc60000;
      return (drawn ^ (drawn >>> 18)) >>> 0;
    };
  }

  function shuffled(count, seed) {
    // An iterator draws its base seed, two numbers of 32 bits; then its sampler two more, whose lower one seeds randperm.
    const outer = generator(seed);
    for (let k = 0; k < 3; k += 1) outer();
    const draw = generator(outer());
    const order = Uint32Array.from({ length: count }, (_, k) => k);
    for (let k = 0; k < count - 1; k += 1) {
      const other = k + (draw() % (count - k));
      [order[k], order[other]] = [order[other], order[k]];
    }
    return order;
  }

  function storeOrder(count, seed) { // as llmprep.windows.permutation: a function from a place to the window there
    const draw = generator(seed), mask64 = (1n << 64n) - 1n;
    const drawn = ((BigInt(draw()) << 32n) | BigInt(draw())) & (mask64 >> 1n);
    const digest = sha256(`llmprep order ${count} ${drawn} 0`);
    const keys = [0, 2, 4, 6].map((k) => [digest[k + 1], digest[k]].reduce((key, word) => (key << 32n) | swapped(word), 0n));
    const half = BigInt(Math.max(1, Math.ceil((count - 1).toString(2).length / 2))), mask = (1n << half) - 1n;
    const mix = (value, key) => {
      let z = (value * 0x9e3779b97f4a7c15n + key) & mask64;
      z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask64;
      z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask64;
      return z ^ (z >> 31n);
    };
    return (place) => {
      let image = BigInt(place);
      do {
        let left = image >> half, right = image & mask;
        for (const key of keys) [left, right] = [right, left ^ (mix(right, key) & mask)];
        image = (left << half) | right;
      } while (image >= count);
      return Number(image);
    };
  }

  const swapped = (word) => BigInt(((word & 0xff) << 24 | (word & 0xff00) << 8 | (word >>> 8) & 0xff00 | word >>> 24) >>> 0);

  function sha256(text) { // of ASCII of less than 56 bytes, as eight numbers of 32 bits
    const primes = [], fraction = (value) => Math.floor((value - Math.floor(value)) * 2 ** 32);
    for (let n = 2; primes.length < 64; n += 1) if (primes.every((prime) => n % prime)) primes.push(n);
    const rounds = primes.map((prime) => fraction(Math.cbrt(prime))), hash = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
    const block = new Uint8Array(64), view = new DataView(block.buffer), w = new Uint32Array(64);
    block.set([...text].map((char) => char.charCodeAt(0)));
    block[text.length] = 0x80;
    view.setUint32(60, 8 * text.length);
    const turn = (x, n) => (x >>> n) | (x << (32 - n));
    for (let k = 0; k < 64; k += 1) {
      const a = w[k - 15], b = w[k - 2];
      w[k] = k < 16 ? view.getUint32(4 * k) : w[k - 16] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + w[k - 7] + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let k = 0; k < 64; k += 1) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + rounds[k] + w[k]) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    return [a, b, c, d, e, f, g, h].map((word, k) => (word + hash[k]) >>> 0);
  }

  // --- words --------------------------------------------------------------------------------------------
  const number = (value) => value.toLocaleString("en-US");
  const plural = (count, noun, nouns = `${noun}s`) => `${number(count)} ${count === 1 ? noun : nouns}`;
  const harmful = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
  const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const hex = (byte) => `\\x${byte.toString(16).padStart(2, "0")}`;

  function summary(c, length, stride) { // as llmprep.preview.explain
    const begin = `${plural(c.n_windows, "window")} of ${length}, stride ${stride}, from ${plural(c.n_tokens, "token")}`;
    const last = c.n_tail > 1 ? `the last ${number(c.n_tail)}` : "the last one";
    if (c.n_gap) return `${begin}; ${number(c.n_used)} are used, ${number(c.n_gap)} between windows${c.n_tail ? ` and ${last}` : ""} ${c.n_gap + c.n_tail === 1 ? "is" : "are"} not.`;
    return `${begin}; ${c.n_tail ? `all but ${last} are used` : "every token is used"}.`;
  }

  function visible(char) {
    if (named[char]) return named[char];
    if (char === "\u200c" || char === "\u200d" || !harmful.test(char)) return char;
    const code = char.codePointAt(0);
    if (code < 0x100) return hex(code);
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  }

  function labelOf(bytes) { // whole characters as they are, other bytes as \xe4
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    let label = "";
    for (let k = 0; k < bytes.length;) {
      const width = bytes[k] < 0x80 ? 1 : bytes[k] < 0xe0 ? 2 : bytes[k] < 0xf0 ? 3 : 4;
      let char = null;
      try {
        char = decoder.decode(Uint8Array.from(bytes.slice(k, k + width)));
      } catch { /* a part of a character, or none */ }
      label += char === null ? hex(bytes[k]) : visible(char);
      k += char === null ? 1 : width;
    }
    return label;
  }

  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function draw(name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const labels = tokens.map((token) => token.textContent);
  const chip = (token) => (token < tokens.length
    ? make("b", { class: tokens[token].className, title: tokens[token].dataset.said }, labels[token])
    : make("b", { class: `t c${token % 4}`, title: "its text is not in this page" }, String(ids[token])));

  // --- tokens: hover, focus, how a word is merged ---------------------------------------------------------
  const tip = make("div", { class: "tip", hidden: "", "aria-hidden": "true" });
  let current = 0;

  function showTip(token) {
    const box = token.getClientRects()[0];
    tip.textContent = token.dataset.said;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - width - 8))}px`;
    tip.style.top = `${box.top > height + 10 ? box.top - height - 6 : box.bottom + 6}px`;
  }

  function focusToken(place) {
    tokens[Math.max(0, Math.min(tokens.length - 1, place))].focus();
  }

  function follow(token) { // the token that has the focus is the one that Tab comes back to
    tokens[current].tabIndex = -1;
    current = Number(token.dataset.place);
    token.tabIndex = 0;
    showTip(token);
  }

  function choose(place) {
    tokens.forEach((token) => token.setAttribute("aria-selected", "false"));
    const word = tokens[place].closest(".w");
    (word ? [...word.querySelectorAll(".t")] : [tokens[place]]).forEach((token) => token.setAttribute("aria-selected", "true"));
    $("steps").replaceChildren(...mergeSteps(word ? Number(word.dataset.w) : -1, tokens[place]));
  }

  function mergeSteps(word, token) {
    if (word < 0) return [make("p", {}, `Token ${token.textContent}, ${token.dataset.said}${data.unmerged ? `. ${data.unmerged}` : `: no merges are known. It is a special token, or its word goes on beyond the tokens shown, or is longer than ${data.longest} bytes.`}`)];
    const [coded, steps, count] = data.words[word];
    let parts = coded.match(/../g).map((byte) => [parseInt(byte, 16)]);
    const rows = [row(parts, -1, `${plural(parts.length, "byte")}`)];
    for (let k = 0; k < steps.length; k += 2) {
      const place = steps[k];
      parts = [...parts.slice(0, place), [...parts[place], ...parts[place + 1]], ...parts.slice(place + 2)];
      rows.push(row(parts, place, `id ${steps[k + 1]}`));
    }
    const merges = steps.length / 2;
    const end = parts.length === count ? "" : ` The whole word is in the vocabulary, and is taken without a merge.`;
    return [make("p", {}, `${plural(merges, "merge")}, lowest id first, ${merges === 1 ? "leads" : "lead"} to ${plural(count, "token")}.${end}`), make("ol", { class: "steps" }, ...rows)];
  }

  const row = (parts, merged, said) => make("li", {}, ...parts.map((part, k) => make("b", k === merged ? { class: "new" } : {}, labelOf(part))), make("i", {}, said));

  function listenToTokens() {
    const strip = $("strip");
    strip.setAttribute("role", "listbox");
    strip.setAttribute("aria-label", "Tokens. Arrow keys move, Enter shows how the word is merged.");
    tokens.forEach((token, place) => {
      token.dataset.said = token.title;
      token.dataset.place = place;
      token.removeAttribute("title");
      token.tabIndex = place ? -1 : 0;
      token.setAttribute("role", "option");
      token.setAttribute("aria-selected", "false");
      token.setAttribute("aria-label", `${token.textContent}, ${token.dataset.said}`);
    });
    strip.querySelectorAll(".w, .g").forEach((element) => element.setAttribute("role", "presentation"));
    strip.querySelectorAll("br, .g i, .boundary").forEach((element) => element.setAttribute("aria-hidden", "true"));
    document.body.append(tip);
    const of = (event) => event.target.closest?.(".t");
    strip.addEventListener("pointerover", (event) => (of(event) ? showTip(of(event)) : (tip.hidden = true)));
    strip.addEventListener("pointerleave", () => { tip.hidden = true; });
    strip.addEventListener("focusin", (event) => of(event) && follow(of(event)));
    strip.addEventListener("focusout", () => { tip.hidden = true; });
    addEventListener("scroll", () => { tip.hidden = true; }, true);
    strip.addEventListener("click", (event) => of(event) && (focusToken(Number(of(event).dataset.place)), choose(current)));
    strip.addEventListener("keydown", (event) => {
      const moves = { ArrowRight: current + 1, ArrowDown: current + 1, ArrowLeft: current - 1, ArrowUp: current - 1, Home: 0, End: tokens.length - 1, PageDown: current + 50, PageUp: current - 50 };
      if (event.key in moves) focusToken(moves[event.key]);
      else if (event.key === "Enter" || event.key === " ") choose(current);
      else if (event.key === "Escape") tip.hidden = true;
      else return;
      event.preventDefault();
    });
  }

  // --- windows --------------------------------------------------------------------------------------------
  const sizes = { length: 1, stride: 1 };
  let spoken, wideness; // of a drawing, in pixels; asked for seldom, as the answer takes a layout

  function measure() { wideness = $("windows").clientWidth; }

  function figures(account, length, stride) {
    const c = account;
    const cells = [["windows", c.n_windows], ["as input", c.n_input], ["as target", c.n_target], ["overlap", c.overlap], ["in gaps", c.n_gap], ["in the tail", c.n_tail]];
    const list = make("dl", { class: "figures" }, ...cells.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, number(value)))));
    const parts = [["", c.n_used], ["gap", c.n_gap], ["tail", c.n_tail]].filter(([, value]) => value);
    const bar = make("div", { class: "bar", role: "img", "aria-label": "Share of the tokens that is used, in gaps, in the tail" });
    parts.forEach(([name, value]) => { const part = make("span", { class: name }); part.style.flexGrow = value; bar.append(part); });
    const sum = make("p", { class: "sum" }, `${number(c.n_used)} used + ${number(c.n_gap)} in gaps + ${number(c.n_tail)} in the tail = ${number(c.n_tokens)} tokens`);
    $("account").replaceChildren(list, bar, sum);
    return summary(c, length, stride);
  }

  const within = (length, stride) => countWindows(ids.length, length, stride); // windows that lie in the tokens held

  function showWindow() {
    const { length, stride } = sizes;
    const last = within(length, stride) - 1;
    const chosen = Math.max(0, Math.min(last, Number($("window").value) || 0));
    $("window").value = chosen;
    $("window").max = Math.max(0, last);
    $("before").disabled = chosen <= 0;
    $("after").disabled = chosen >= last;
    const all = countWindows(data.n, length, stride);
    $("of").textContent = last < 0 ? "" : last + 1 === all ? `0 to ${number(last)}` : `0 to ${number(last)} lie in the tokens that this page holds`;
    if (last < 0) {
      $("shown").replaceChildren(make("p", {}, all ? "No window lies wholly in the tokens that this page holds." : `${plural(data.n, "token")}: too few for a window of ${number(length)}, which needs one more as target.`));
      return;
    }
    const across = seesAcross(ids.slice(chosen * stride, chosen * stride + length)).indexOf(true);
    const said = `Positions ${number(across)} to ${number(length - 1)} see across a document boundary: their contexts hold another document's tokens.`;
    $("shown").replaceChildren(windowTable(chosen), ...(across < 0 ? [] : [make("p", { class: "note" }, said)]));
  }

  function windowTable(chosen) {
    const first = chosen * sizes.stride, wide = Math.min(sizes.length, data.columns);
    const places = Array.from({ length: wide }, (_, k) => first + k);
    const across = seesAcross(ids.slice(first, first + sizes.length));
    const cell = (token, marked) => make("td", marked ? { class: "across" } : {}, chip(token), make("small", {}, String(ids[token])));
    const more = () => (sizes.length > wide ? [make("td", {}, `\u2026 ${number(sizes.length - wide)} more`)] : []);
    const table = make("table", { class: "rows" }, make("tbody", {},
      make("tr", {}, make("th", { scope: "row" }, "input"), ...places.map((place, k) => cell(place, across[k])), ...more()),
      make("tr", {}, make("th", { scope: "row" }, "target"), ...places.map((place) => cell(place + 1, false)), ...more())));
    if (across.some(Boolean)) table.tBodies[0].append(make("tr", {}, make("th", { scope: "row" }, "sees across"), ...places.map((_, k) => make("td", { class: "mark" }, across[k] ? "yes" : ""))));
    return table;
  }

  function boundaries() {
    const { length, stride } = sizes;
    const ends = ids.flatMap((id, place) => (id === data.eot ? [place] : []));
    if (!ends.length) return ["No document boundary stands among the tokens that this page holds."];
    const next = (wanted) => { // the first place from each on where an id is, or is not, the end of a text
      const found = new Array(ids.length + 1).fill(ids.length);
      for (let k = ids.length - 1; k >= 0; k -= 1) found[k] = (ids[k] === data.eot) === wanted ? k : found[k + 1];
      return found;
    };
    const nextEnd = next(true), nextText = next(false);
    let windows = 0, positions = 0, first = -1;
    const count = within(length, stride);
    for (let k = 0; k < count; k += 1) {
      const sees = Math.max(0, k * stride + length - nextEnd[nextText[k * stride]]);
      if (sees && first < 0) first = k;
      windows += sees ? 1 : 0;
      positions += sees;
    }
    const said = `${plural(ends.length, "document boundary", "document boundaries")} among the tokens that this page holds. Of the ${plural(count, "window")} in them, ${number(windows)} ${windows === 1 ? "sees" : "see"} across one, at ${number(positions)} of ${number(count * length)} positions. `;
    return first < 0 ? [said] : [said, make("button", { type: "button", "data-window": first }, `Show window ${number(first)}`)];
  }

  function drawMap() {
    const { length, stride } = sizes, svg = $("map");
    const windows = Math.min(6, countWindows(data.n, length, stride));
    const span = Math.min(data.n, windows ? (windows - 1) * stride + length + 1 : data.n, 6 * stride + length + 1);
    const named = span <= 48 && tokens.length >= span;
    const left = 74, high = 18, room = Math.max(160, wideness - left - (named ? 40 : 12));
    const wide = named ? Math.max(16, Math.min(40, room / span)) : room / span;
    const names = named ? labels.slice(0, span).map((label) => (label.length > 12 ? `${label.slice(0, 11)}\u2026` : label)) : [];
    const top = named ? 20 + 6 * Math.max(...names.map((name) => name.length)) : 24, bottom = top + windows * (high + 5) + 10;
    svg.replaceChildren();
    names.forEach((name, k) => svg.append(draw("text", { class: "name", transform: `translate(${left + (k + 0.65) * wide} ${top - 6}) rotate(-60)` }, name)));
    const step = named ? 5 : 10 ** Math.floor(Math.log10(Math.max(1, span / 3)));
    for (let k = 0; !named && k < span; k += step) svg.append(draw("text", { x: left + k * wide, y: top - 8 }, number(k)), draw("path", { class: "rule", d: `M${left + k * wide} ${top - 4}V${bottom + 60}` }));
    const chosen = Number($("window").value);
    for (let k = 0; k < windows; k += 1) {
      const y = top + k * (high + 5), x = left + k * stride * wide;
      svg.append(draw("text", { x: 0, y: y + 13 }, `window ${k}`), draw("rect", { class: k === chosen ? "input chosen" : "input", x, y, width: length * wide, height: high, rx: Math.min(4, wide) }),
        draw("rect", { class: "target", x: x + length * wide, y: y + 3, width: Math.max(1.5, wide - 1), height: high - 6, rx: Math.min(2, wide / 4) }));
    }
    const every = Math.ceil(span / 2000); // a column may be several tokens
    const counts = Array.from({ length: Math.ceil(span / every) }, (_, k) => targetCount(k * every, data.n, length, stride));
    const most = Math.max(1, ...counts), unit = 44 / most;
    svg.append(draw("text", { x: 0, y: bottom + 48 }, "as target"));
    let path = `M${left} ${bottom + 50}`;
    counts.forEach((count, k) => { path += `V${bottom + 50 - count * unit}H${left + Math.min(span, (k + 1) * every) * wide}`; });
    svg.append(draw("path", { class: "count", d: `${path}V${bottom + 50}Z` }));
    counts.forEach((count, token) => named && svg.append(draw("text", { x: left + (token + 0.5) * wide, y: bottom + 64, "text-anchor": "middle" }, String(count))));
    if (!named) svg.append(draw("text", { x: left + 2, y: bottom + 64 }, `at most ${plural(most, "time")}`));
    const width = left + span * wide + (named ? 40 : 12), height = bottom + 72;
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.setAttribute("aria-label", `The first ${plural(windows, "window")}: window k reads tokens k times ${stride} to k times ${stride} plus ${length - 1}. Each token shown is a target at most ${plural(most, "time")}.`);
  }

  function drawHistogram(account) {
    const { length, stride } = sizes, svg = $("histogram"), windows = account.n_windows;
    const left = 56, wide = Math.max(160, Math.min(680, wideness - left - 10)), high = 130, each = wide / length, gap = each > 6 ? 1.5 : 0;
    const few = Math.max(0, length - stride); // up to this length, only the first window's context is the longest
    const bars = gap ? longestContexts(data.n, length, stride).map((count, k) => [k, k + 1, count]) : [[0, few, Math.min(windows, 1)], [few, length, windows]];
    let path = "";
    for (const [begin, end, count] of bars.filter(([from, to, times]) => times && to > from)) {
      path += `M${(left + begin * each).toFixed(2)} ${10 + high}v${(-Math.max(0.8, high * count / windows)).toFixed(2)}h${((end - begin) * each - gap).toFixed(2)}V${10 + high}Z`;
    }
    svg.replaceChildren(draw("path", { class: "rule", d: `M${left} ${10 + high}H${left + wide}` }), draw("path", { class: "count", d: path }));
    if (windows) svg.append(draw("path", { class: "all", d: `M${left} 10H${left + wide}` }), draw("text", { x: left - 8, y: 14, "text-anchor": "end" }, number(windows)));
    svg.append(draw("text", { x: left - 8, y: 14 + high, "text-anchor": "end" }, "0"), draw("text", { x: left, y: high + 26 }, "1"));
    if (length > 1) svg.append(draw("text", { x: left + wide, y: high + 26, "text-anchor": "end" }, number(length)));
    svg.append(draw("text", { x: left + wide / 2, y: high + 26, "text-anchor": "middle" }, "tokens of context"));
    svg.setAttribute("width", left + wide + 10);
    svg.setAttribute("height", high + 34);
    const upTo = (k) => k * (k + 1) / 2, total = Math.min(windows, 1) * upTo(few) + windows * (upTo(length) - upTo(few));
    const mean = account.n_target ? (total / account.n_target).toFixed(1) : "0";
    $("lengths").textContent = windows ? `Each window gives one pair with each context of 1 to ${plural(length, "token")}: ${plural(windows * length, "pair")}, ${number(windows)} of each length. ${plural(account.n_target, "token")} are targets; the longest context of each is ${mean} tokens on average.` : "There is no window, and so no context.";
    svg.setAttribute("aria-label", $("lengths").textContent);
  }

  function redraw() {
    const account = cover(data.n, sizes.length, sizes.stride);
    const sentence = figures(account, sizes.length, sizes.stride);
    clearTimeout(spoken);
    spoken = setTimeout(() => { $("said").textContent = sentence; }, 250); // so that a screen reader hears the last place only
    showWindow();
    $("across").replaceChildren(...boundaries());
    drawMap();
    drawHistogram(account);
    drawBatches();
  }

  function setSize(name, value) {
    const most = Number($(name).max);
    if (!Number.isInteger(value) || value < 1) return;
    sizes[name] = Math.min(most, value);
    $(name).value = sizes[name];
    $(`${name}-number`).value = sizes[name];
  }

  // --- batches --------------------------------------------------------------------------------------------
  function drawBatches() {
    const count = countWindows(data.n, sizes.length, sizes.stride);
    const size = Math.max(1, Math.floor(Number($("size").value)) || 1), seed = Math.max(0, Number($("seed").value) || 0);
    const wanted = $("shuffle").checked && count > 0, mixed = wanted && (data.store || count <= data.most);
    const order = mixed && !data.store ? shuffled(count, seed >>> 0) : null;
    const at = !mixed ? (place) => place : data.store ? storeOrder(count, seed >>> 0) : (place) => order[place];
    const full = Math.floor(count / size), rest = count % size, dropped = $("drop").checked;
    const batches = full + (rest && !dropped ? 1 : 0);
    const ending = rest ? (dropped ? `; ${plural(rest, "window")} ${rest === 1 ? "is" : "are"} left out` : `; the last batch has ${number(rest)}`) : "";
    $("batches-said").textContent = `${plural(batches, "batch", "batches")} of ${number(size)} an epoch${ending}.${wanted && !mixed ? ` They stand in order: of more than ${number(data.most)} windows no other is worked out here.` : ""}`;
    const drawn = Math.min(batches, 10), columns = Math.min(size, 32);
    const body = make("tbody");
    for (let k = 0; k < drawn; k += 1) {
      const wide = Math.min(columns, count - k * size);
      const cells = Array.from({ length: wide }, (_, j) => make("td", {}, windowButton(at(k * size + j))));
      if (columns < size) cells.push(make("td", {}, `\u2026 ${number(Math.min(size, count - k * size) - wide)} more`));
      body.append(make("tr", {}, make("th", { scope: "row" }, `batch ${k}`), ...cells));
    }
    $("grid").replaceChildren(make("table", { class: "grid" }, body), ...(batches > drawn ? [make("p", { class: "note" }, `and ${number(batches - drawn)} more`)] : []));
    drawTensors(batches ? Array.from({ length: Math.min(size, count, 8) }, (_, j) => at(j)) : [], size);
  }

  function windowButton(window) {
    if (window >= within(sizes.length, sizes.stride)) return make("span", { class: "number", title: "beyond the tokens that this page holds" }, number(window));
    const button = make("button", { type: "button", "data-window": window, "aria-label": `show window ${window}` }, number(window));
    return button;
  }

  function drawTensors(windows, size) { // the first batch, as the course prints it
    const { length, stride } = sizes, count = within(length, stride);
    if (!windows.length || windows.some((window) => window >= count)) {
      $("batch").replaceChildren(...(windows.length ? [make("p", { class: "note" }, "The first batch has windows beyond the tokens that this page holds: only their numbers are known here.")] : []));
      return;
    }
    const shown = Math.min(length, 8), idsFrom = (start) => ids.slice(start, start + shown);
    const wide = Math.max(...windows.flatMap((window) => [...idsFrom(window * stride), ...idsFrom(window * stride + 1)]).map((id) => String(id).length));
    const rows = (shift) => windows.map((window) => idsFrom(window * stride + shift).map((id) => String(id).padStart(wide)).join(", ") + (length > shown ? ", ..." : ""));
    const tensor = (shift) => `tensor([[${rows(shift).join("],\n        [")}]${size > windows.length ? ",\n        ..." : ""}])`;
    $("batch").replaceChildren(make("h3", {}, "Batch 0, inputs"), make("pre", {}, tensor(0)), make("h3", {}, "Batch 0, targets"), make("pre", {}, tensor(1)));
  }

  function listenToControls() {
    for (const name of ["length", "stride"]) {
      for (const id of [name, `${name}-number`]) $(id).addEventListener("input", (event) => { setSize(name, Number(event.target.value)); redraw(); });
    }
    $("length-number").addEventListener("change", () => setSize("length", sizes.length));
    $("stride-number").addEventListener("change", () => setSize("stride", sizes.stride));
    const chosen = (window) => { $("window").value = window; showWindow(); drawMap(); };
    $("window").addEventListener("change", () => chosen(Number($("window").value)));
    $("before").addEventListener("click", () => chosen(Number($("window").value) - 1));
    $("after").addEventListener("click", () => chosen(Number($("window").value) + 1));
    for (const id of ["size", "seed", "shuffle", "drop"]) $(id).addEventListener("input", drawBatches);
    for (const id of ["grid", "across"]) {
      $(id).addEventListener("click", (event) => {
        if (event.target.dataset.window === undefined) return;
        chosen(Number(event.target.dataset.window));
        $("shown").scrollIntoView({ block: "center" });
        $("shown").focus({ preventScroll: true });
      });
    }
    let width = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; measure(); redraw(); } });
  }

  document.documentElement.classList.add("scripted");
  listenToTokens();
  listenToControls();
  measure();
  setSize("length", Number($("length").value));
  setSize("stride", Number($("stride").value));
  redraw();
  globalThis.llmprep = Object.freeze({ cover, targetCount, longestContexts, seesAcross, shuffled, storeOrder, summary, labelOf, mergeSteps, sizes, setSize, redraw });
})();
