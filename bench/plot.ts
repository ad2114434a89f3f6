/** Draws the figures of a sweep as an SVG: sizes to the right in powers of two, rates upwards, a line for each way of doing it. */

export interface Series {
  readonly name: string;
  /** Sizes in bytes, and what was measured there. */
  readonly points: readonly (readonly [size: number, value: number])[];
}

export interface Plot {
  readonly title: string;
  /** What the sizes are of. */
  readonly across: string;
  /** What the values are, with their unit. */
  readonly up: string;
  readonly series: readonly Series[];
  /** The size that was chosen: a dashed line. */
  readonly chosen?: number;
  readonly note: string;
}

const width = 720;
const height = 400;
const frame = { left: 70, right: 20, top: 40, bottom: 70 };
/** Readable on white and on black, and told apart by those who see few colours (Okabe and Ito). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7'];

export function drawPlot(plot: Plot): string {
  const sizes = [...new Set(plot.series.flatMap(({ points }) => points.map(([size]) => size)))].sort(
    (a, b) => a - b,
  );
  const top = niceTop(Math.max(...plot.series.flatMap(({ points }) => points.map(([, value]) => value))));
  const [low, high] = [Math.log2(sizes[0]!), Math.log2(sizes.at(-1)!)];
  const x = (size: number): number =>
    round(frame.left + ((Math.log2(size) - low) / (high - low)) * (width - frame.left - frame.right));
  const y = (value: number): number =>
    round(height - frame.bottom - (value / top) * (height - frame.top - frame.bottom));
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(frame.left, 22, plot.title, 'font-size="15" font-weight="bold"'),
    text(width / 2, height - 30, plot.across, 'text-anchor="middle"'),
    text(width / 2, height - 10, plot.note, 'text-anchor="middle" fill="#666666" font-size="10"'),
    `<g transform="translate(16 ${height / 2}) rotate(-90)">${text(0, 0, plot.up, 'text-anchor="middle"')}</g>`,
  ];
  for (let i = 0; i <= 5; i++) {
    const value = (top / 5) * i;
    parts.push(
      `<line x1="${frame.left}" x2="${width - frame.right}" y1="${y(value)}" y2="${y(value)}" stroke="#dddddd"/>`,
      text(frame.left - 6, y(value) + 4, Math.round(value).toLocaleString('en-US'), 'text-anchor="end"'),
    );
  }
  for (const size of sizes)
    parts.push(text(x(size), height - frame.bottom + 16, showSize(size), 'text-anchor="middle"'));
  if (plot.chosen !== undefined) {
    const at = x(plot.chosen);
    parts.push(
      `<line x1="${at}" x2="${at}" y1="${frame.top}" y2="${height - frame.bottom}" stroke="#666666" stroke-dasharray="4 4"/>`,
    );
  }
  plot.series.forEach(({ name, points }, i) => {
    const colour = colours[i % colours.length]!;
    const line = points.map(([size, value]) => `${x(size)},${y(value)}`).join(' ');
    parts.push(`<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [size, value] of points)
      parts.push(`<circle cx="${x(size)}" cy="${y(value)}" r="3" fill="${colour}"/>`);
    parts.push(
      `<rect x="${frame.left + 12}" y="${frame.top + 6 + 18 * i}" width="12" height="12" fill="${colour}"/>`,
      text(frame.left + 30, frame.top + 16 + 18 * i, name),
    );
  });
  return `${[...parts, '</svg>'].join('\n')}\n`;
}

/** The next of 1, 2, 2.5, 5 times a power of ten. */
function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value)!;
}

function showSize(bytes: number): string {
  if (bytes >= 2 ** 30) return `${bytes / 2 ** 30} GiB`;
  return bytes >= 2 ** 20 ? `${bytes / 2 ** 20} MiB` : `${bytes / 1024} KiB`;
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const safe = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}" fill="#222222" ${attributes}>${safe}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
