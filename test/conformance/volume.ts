/** The suite every volume passes: parts written once, durable together, read back exactly, described by the volume itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Part, PartName, Volume } from '../../engine/volume.ts';

/** A volume to test, and how to come back to what it keeps; absent where nothing outlives it. */
export interface VolumeUnderTest {
  readonly volume: Volume;
  readonly reopen?: () => Volume;
  /** A part as this kind of volume stores it. */
  readonly part: (content: Uint8Array) => Part;
  readonly dispose: () => void;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Runs the suite on fresh volumes made by `make`. */
export function volumeSuite(name: string, make: () => VolumeUnderTest): void {
  const check = (what: string, body: (given: VolumeUnderTest) => void): void => {
    test(`${name}: ${what}`, () => {
      const given = make();
      try {
        body(given);
      } finally {
        given.volume.close();
        given.dispose();
      }
    });
  };

  check('what was written is read back, whole and in ranges', ({ volume, part }) => {
    const parts = ['', 'a', 'hello world', 'x'.repeat(200_000)].map((content) => part(text(content)));
    const locators = volume.write(parts);
    assert.equal(locators.length, parts.length);
    parts.forEach(({ name: partName, bytes }, i) => {
      const locator = locators[i]!;
      assert.equal(locator.length, bytes.length);
      assert.deepEqual(bytesOf(volume.read(partName, locator, 0, bytes.length)), bytesOf(bytes));
      assert.deepEqual(bytesOf(volume.read(partName, locator, 3, 5)), bytesOf(bytes.subarray(3, 8)));
      assert.deepEqual(bytesOf(volume.read(partName, locator, 1, 1e9)), bytesOf(bytes.subarray(1)));
    });
  });

  check('many parts in one write lie apart and keep their order', ({ volume, part }) => {
    const parts = Array.from({ length: 500 }, (_, i) => part(text(`part ${i} ${'.'.repeat(i)}`)));
    const locators = volume.write(parts);
    parts.forEach(({ name: partName, bytes }, i) => {
      assert.deepEqual(bytesOf(volume.read(partName, locators[i]!, 0, bytes.length)), bytesOf(bytes));
    });
  });

  check('what is not there is undefined', ({ volume, part }) => {
    const [locator] = volume.write([part(text('here'))]);
    const { name: other } = part(text('not here'));
    assert.equal(volume.read(other, { ...locator!, extent: 77_777 }, 0, 10), undefined);
  });

  check('it lists its parts, and nothing outside the extents asked for', ({ volume, part }) => {
    const parts = ['one', 'two', 'three'].map((content) => part(text(content)));
    const locators = volume.write(parts);
    const listed = [...volume.parts(0, Number.MAX_SAFE_INTEGER)];
    assert.deepEqual(keys(listed.map((found) => found.name!)), keys(parts.map((written) => written.name)));
    for (const found of listed) {
      const i = parts.findIndex((written) => key(written.name) === key(found.name!));
      assert.deepEqual(found.locator, locators[i]);
      assert.equal(found.damage, undefined);
    }
    const last = Math.max(...locators.map(({ extent }) => extent));
    assert.deepEqual([...volume.parts(last + 1, last + 1000)], []);
  });

  check('two incarnations of one blob are two parts', ({ volume, part }) => {
    const first = part(text('same'));
    const second = part(text('same'));
    assert.notEqual(key(first.name), key(second.name));
    const [one] = volume.write([first]);
    const [two] = volume.write([second]);
    volume.delete(first.name, one!);
    assert.deepEqual(bytesOf(volume.read(second.name, two!, 0, 1e9)), bytesOf(second.bytes));
  });

  check(
    'a delete that gives space back takes the part away; repeating it is harmless',
    ({ volume, part }) => {
      const written = part(text('soon gone'));
      const [locator] = volume.write([written]);
      const removed = volume.delete(written.name, locator!);
      const left = volume.read(written.name, locator!, 0, 1e9);
      assert.equal(left === undefined, removed);
      assert.equal(volume.delete(written.name, locator!), false);
    },
  );

  check('its facts grow with what is written', ({ volume, part }) => {
    const before = volume.facts();
    volume.write([part(text('y'.repeat(100_000)))]);
    const after = volume.facts();
    // Less than was written where a page that was there had room.
    assert.ok(after.bytes >= before.bytes + 80_000);
    assert.ok(after.generation >= before.generation);
  });

  check('what was written is there after closing and opening', (given) => {
    if (given.reopen === undefined) return;
    const written = given.part(text('still here'));
    const [locator] = given.volume.write([written]);
    const { generation } = given.volume.facts();
    given.volume.close();
    const again = given.reopen();
    try {
      assert.deepEqual(bytesOf(again.read(written.name, locator!, 0, 1e9)), bytesOf(written.bytes));
      assert.equal(again.facts().generation, generation);
      assert.deepEqual(keys([...again.parts(0, 1e9)].map((found) => found.name!)), keys([written.name]));
    } finally {
      again.close();
    }
  });
}

function key(name: PartName): string {
  return `${name.id}.${name.incarnation}`;
}

function keys(names: readonly PartName[]): string[] {
  return names.map(key).sort();
}

/** Buffers and arrays compare by content. */
function bytesOf(bytes: Uint8Array | undefined): number[] | undefined {
  return bytes === undefined ? undefined : [...bytes];
}
