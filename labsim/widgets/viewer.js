// Draws one image of a series. Python owns the values; this is a view of them.

function control(name, min, max, step, unit) {
  const label = document.createElement("label");
  const text = document.createElement("span");
  const input = document.createElement("input");
  const shown = document.createElement("output");
  text.textContent = name;
  Object.assign(input, { type: "range", min, max, step });
  // Otherwise JupyterLab takes the arrow keys, to move from heading to heading.
  input.setAttribute("data-lm-suppress-shortcuts", "true");
  label.append(text, input, shown);
  const show = (value, words = `${Math.round(value)}${unit}`) => {
    input.value = value;
    shown.textContent = words;
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  return { label, input, show };
}

function render({ model, el }) {
  const rows = model.get("rows");
  const columns = model.get("columns");
  const places = model.get("places");
  const bytes = model.get("pixels");
  const values = new Int16Array(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  );

  // Room for every window that the values can need.
  const low = Math.min(...model.get("range"));
  const high = Math.max(...model.get("range"));

  const root = document.createElement("div");
  root.className = "labsim-viewer";
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: columns, height: rows });
  canvas.setAttribute("role", "img");
  const panel = document.createElement("div");
  panel.className = "labsim-viewer-panel";
  const status = document.createElement("p");
  status.setAttribute("aria-live", "polite");
  const slice = control("Slice", 0, places.length - 1, 1, "");
  const center = control("Window centre", low, high, 1, "");
  const width = control("Window width", 1, 2 * (high - low), 1, "");
  const help = document.createElement("p");
  help.className = "labsim-viewer-help";
  help.textContent =
    "Arrow keys move a slider. Or drag on the picture: left and right for width, up and down for centre.";
  panel.append(slice.label, center.label, width.label, status, help);
  root.append(canvas, panel);
  el.append(root);

  const context = canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);

  function draw() {
    const index = model.get("index");
    const c = model.get("center");
    const w = model.get("width");
    const first = index * rows * columns;
    const black = c - 0.5 - (w - 1) / 2;
    const scale = 255 / Math.max(w - 1, 1);
    for (let i = 0; i < rows * columns; i += 1) {
      const grey = (values[first + i] - black) * scale; // clamped by the array itself
      picture.data[4 * i] = grey;
      picture.data[4 * i + 1] = grey;
      picture.data[4 * i + 2] = grey;
      picture.data[4 * i + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
    slice.show(index, `${index + 1} of ${places.length}`);
    center.show(c);
    width.show(w);
    status.textContent = `${places[index]}`;
    canvas.setAttribute("aria-label", `${model.get("title")}, ${places[index]}, window ${c} / ${w}.`);
  }

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  slice.input.addEventListener("input", () => change("index", Number(slice.input.value)));
  center.input.addEventListener("input", () => change("center", Number(center.input.value)));
  width.input.addEventListener("input", () => change("width", Number(width.input.value)));
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    change("width", Math.max(1, model.get("width") + 4 * event.movementX));
    change("center", model.get("center") + 4 * event.movementY);
  });

  const names = ["change:index", "change:center", "change:width"];
  names.forEach((name) => model.on(name, draw));
  draw();
  return () => names.forEach((name) => model.off(name, draw));
}

export default { render };
