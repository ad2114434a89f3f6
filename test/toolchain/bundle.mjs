// Makes one file of a program and all modules it reaches: loading a module costs Node about a millisecond, and a command with its
// threads loads four hundred. Takes what tsc writes, in which imports and exports begin their lines, and keeps its lines as they are.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';

const imported = /^import (?:(\w+)|\* as (\w+)|\{([^}]*)\}) from (['"])([^'"]+)\4;?/gm;
const reexported = /^export (?:\*|\{([^}]*)\}) from (['"])([^'"]+)\2;?/gm;
const dynamic = /\bimport\((['"])(\.[^'"]+)\1\)/g;

/** Replaces the module at `entry`, a path below `folder`, by itself and all it imports from there, each module run when it is needed first. */
export function bundle(folder, entry) {
  const modules = new Map();
  const doors = [];
  const lazy = new Map();
  const outside = new Map();
  const add = (path) => {
    if (modules.has(path)) return modules.get(path).name;
    const module = { name: `load${modules.size}`, code: '', within: new Set(), outside: new Set() };
    modules.set(path, module);
    module.code = rewritten(readFileSync(join(folder, path), 'utf8'), path);
    return module.name;
  };
  const source = (path, from) => {
    if (path.startsWith('.')) {
      const found = posix.join(posix.dirname(from), path);
      modules.get(from).within.add(found);
      return `${add(found)}()`;
    }
    if (path.startsWith('node:')) return `process.getBuiltinModule('${path}')`;
    if (!outside.has(path)) outside.set(path, `outside${outside.size}`);
    modules.get(from).outside.add(path);
    return outside.get(path);
  };
  /** What is not ours and must be here before a module runs. */
  const needs = (path) => {
    const reached = new Set([path]);
    for (const one of reached) for (const next of modules.get(one).within) reached.add(next);
    return new Set([...reached].flatMap((one) => [...modules.get(one).outside]));
  };
  const rewritten = (text, path) => {
    const exported = [];
    const lines = (matched, code) => code + '\n'.repeat(matched.split('\n').length - 1);
    const code = text
      .replace(/^#!.*/, '')
      .replace(/^\/\/# sourceMappingURL=.*$/m, '')
      .replace(imported, (all, byDefault, whole, names, _, from) => {
        const found = source(from, path);
        if (byDefault !== undefined)
          return lines(all, `const ${byDefault} = ${found}${from.startsWith('node:') ? '' : '.default'};`);
        return lines(all, `const ${whole ?? `{${names.replaceAll(' as ', ': ')}}`} = ${found};`);
      })
      .replace(reexported, (all, names, _, from) => {
        const found = source(from, path);
        if (names === undefined) exported.push(`...${found}`);
        else for (const [inner, outer] of pairs(names)) exported.push(`${outer}: ${found}.${inner}`);
        return lines(all, '');
      })
      .replace(/^export \{([^}]*)\};?/gm, (all, names) => {
        for (const [inner, outer] of pairs(names)) exported.push(`${outer}: ${inner}`);
        return lines(all, '');
      })
      .replace(/^export ((?:async )?(?:function\*?|class|const) (\w+))/gm, (_, declared, name) => {
        exported.push(name);
        return declared;
      })
      .replace(dynamic, (_, quote, from) => {
        const found = posix.join(posix.dirname(path), from);
        lazy.set(found, add(found).replace('load', 'enter'));
        return `${lazy.get(found)}()`;
      })
      .replaceAll('import.meta.url', `new URL('${upTo(entry, path)}', import.meta.url).href`);
    const left = /^(?:import|export)\b.*/m.exec(code);
    if (left !== null) throw new Error(`${path} cannot be bundled: ${left[0]}`);
    if (path === entry) doors.push(...exported);
    return `${code}\nreturn { ${exported.join(', ')} };`;
  };
  add(entry);
  const first = readFileSync(join(folder, entry), 'utf8').split('\n', 1)[0];
  const atOnce = needs(entry);
  const head = [
    ...(first.startsWith('#!') ? [first] : []),
    ...[...outside].map(([path, name]) =>
      atOnce.has(path) ? `import * as ${name} from '${path}';` : `let ${name};`,
    ),
    ...[...lazy].map(([path, name]) => {
      const left = [...needs(path)].filter((one) => !atOnce.has(one));
      const names = left.map((one) => outside.get(one)).join(', ');
      const imports = left.map((one) => `import('${one}')`).join(', ');
      const before = left.length === 0 ? '' : `[${names}] = await Promise.all([${imports}]); `;
      return `async function ${name}() { ${before}return ${modules.get(path).name}(); }`;
    }),
  ];
  const sections = [];
  const written = [...head];
  let line = head.length;
  for (const [path, { name, code }] of modules) {
    written.push(
      `// ${path}`,
      `let made${name}; const ${name} = () => made${name} ??= make${name}(); function make${name}() {`,
    );
    line += 2;
    const map = join(folder, `${path}.map`);
    if (existsSync(map))
      sections.push({ offset: { line, column: 0 }, map: moved(map, dirname(join(folder, entry))) });
    written.push(code, '}');
    line += code.split('\n').length + 1;
  }
  written.push(
    doors.length === 0 ? 'load0();' : `export const { ${doors.join(', ')} } = load0();`,
    `//# sourceMappingURL=${posix.basename(entry)}.map`,
    '',
  );
  return {
    code: written.join('\n'),
    map: JSON.stringify({ version: 3, file: posix.basename(entry), sections }),
  };
}

/** Writes bundles in the place of their entries: all are made of modules as they were compiled. */
export function bundleAll(folder, entries) {
  const made = entries.map((entry) => [join(folder, entry), bundle(folder, entry)]);
  for (const [path, { code, map }] of made) {
    writeFileSync(path, code);
    writeFileSync(`${path}.map`, map);
  }
}

function pairs(names) {
  return names
    .split(',')
    .map((name) => name.trim().split(' as '))
    .filter(([inner]) => inner !== '')
    .map(([inner, outer = inner]) => [inner, outer]);
}

/** A map that says its sources as seen from another folder. Their text stands in the maps of the modules. */
function moved(path, from) {
  const { sourcesContent: _, ...map } = JSON.parse(readFileSync(path, 'utf8'));
  const sources = map.sources.map((source) =>
    relative(from, join(dirname(path), source))
      .split(sep)
      .join('/'),
  );
  return { ...map, sources };
}

function upTo(from, to) {
  const path = posix.relative(posix.dirname(from), to);
  return path.startsWith('.') ? path : `./${path}`;
}
