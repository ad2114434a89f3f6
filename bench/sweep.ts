/** `npm run sweep -- [names] [--runs N] [--mib N] [--dir D] [--out D]`: measures over sizes and draws what it finds. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.ts';
import { drawPlot } from './plot.ts';
import { sweeps } from './sweeps.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '3' },
    mib: { type: 'string', default: '128' },
    dir: { type: 'string', default: join(tmpdir(), 'holdfast-bench') },
    out: { type: 'string', default: 'docs/plots' },
  },
});

const unknown = positionals.find((name) => !sweeps.some((sweep) => sweep.name === name));
if (unknown !== undefined)
  throw new Error(`no sweep is called ${unknown}: there are ${sweeps.map(({ name }) => name).join(', ')}`);
const machine = describeMachine();
const note = `${machine}; medians of ${values.runs}`;
mkdirSync(values.dir, { recursive: true });
mkdirSync(values.out, { recursive: true });
console.error(machine);
for (const sweep of sweeps) {
  if (positionals.length > 0 && !positionals.includes(sweep.name)) continue;
  const plots = await sweep.run({
    directory: values.dir,
    bytes: Number(values.mib) * 1024 * 1024,
    runs: Number(values.runs),
    says: (text) => console.error(`· ${text}`),
  });
  plots.forEach((plot, i) => {
    const name = plots.length > 1 ? `${sweep.name}-${i + 1}` : sweep.name;
    writeFileSync(join(values.out, `${name}.svg`), drawPlot({ ...plot, note }));
    console.log(plot.title);
    for (const { name: line, points } of plot.series) {
      const shown = points.map(([size, value]) => `${size / 1024}K: ${value.toPrecision(3)}`);
      console.log(`  ${line}: ${shown.join(', ')}`);
    }
  });
}
