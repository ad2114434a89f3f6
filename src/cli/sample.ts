/** Makes a small library of files of many kinds, for `npm start` without a folder. The same bytes each time. */
import { createHash } from 'node:crypto';
import { chmod, mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Fills an existing folder: about forty files, 50 MB, a third of it twice. */
export async function makeSample(folder: string): Promise<void> {
  for (const [path, bytes] of sampleFiles()) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
  await symlink('../photos/2024/Møns Klint 🏖.jpg', join(folder, 'links', 'favourite.jpg'));
  await symlink('nowhere', join(folder, 'links', 'broken'));
  await mkdir(join(folder, 'an empty folder'));
  await chmod(join(folder, 'documents', 'contract.txt'), 0o400);
  await chmod(join(folder, 'programs', 'backup.sh'), 0o755);
  await utimes(join(folder, 'documents', 'contract.txt'), 0, 915_148_800);
}

function* sampleFiles(): Generator<readonly [path: string, bytes: Uint8Array | string]> {
  const video = noise('video', 12_000_000);
  yield ['videos/harbour.mp4', video];
  yield ['videos/old drive/harbour (copy).mp4', video];
  yield ['videos/ferry.mp4', noise('ferry', 7_340_033)];
  for (let i = 0; i < 8; i++)
    yield [`photos/2024/IMG_${String(4100 + i)}.jpg`, noise(`photo ${i}`, 900_000 + i * 77_777)];
  for (let i = 0; i < 4; i++)
    yield [`photos/to sort/IMG_${String(4100 + i)} 1.jpg`, noise(`photo ${i}`, 900_000 + i * 77_777)];
  yield ['photos/2024/Møns Klint 🏖.jpg', noise('cliff', 1_234_567)];
  yield ['music/sine.wav', sineWave(440, 10)];
  yield ['links/about.txt', 'These links are kept as links.\n'];
  for (let i = 1; i <= 12; i++)
    yield [
      `documents/notes/${String(i).padStart(2, '0')}.md`,
      `# Note ${i}\n\n${'All work and no play. '.repeat(i * i)}\n`,
    ];
  yield ['documents/contract.txt', 'Read only.\n'];
  yield [
    'documents/table.csv',
    Array.from({ length: 20_000 }, (_, i) => `${i},${(i * 7919) % 10_007},row ${i}`).join('\n'),
  ];
  yield ['documents/settings.json', JSON.stringify({ theme: 'dark', columns: [1, 2, 3] }, undefined, 2)];
  yield ['programs/backup.sh', '#!/bin/sh\nexec holdfast add "$1" "$HOME"\n'];
  yield ['programs/empty', ''];
  yield ['programs/one byte', '1'];
}

/** Bytes that look random, and are the same each time. */
function noise(seed: string, length: number): Uint8Array {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}

/** 16-bit mono at 44.1 kHz. */
function sineWave(hertz: number, seconds: number): Uint8Array {
  const samples = 44_100 * seconds;
  const wave = Buffer.alloc(44 + 2 * samples);
  wave.write('RIFF', 0);
  wave.writeUInt32LE(36 + 2 * samples, 4);
  wave.write('WAVEfmt ', 8);
  wave.writeUInt32LE(16, 16);
  wave.writeUInt16LE(1, 20);
  wave.writeUInt16LE(1, 22);
  wave.writeUInt32LE(44_100, 24);
  wave.writeUInt32LE(88_200, 28);
  wave.writeUInt16LE(2, 32);
  wave.writeUInt16LE(16, 34);
  wave.write('data', 36);
  wave.writeUInt32LE(2 * samples, 40);
  for (let i = 0; i < samples; i++)
    wave.writeInt16LE(Math.round(20_000 * Math.sin((2 * Math.PI * hertz * i) / 44_100)), 44 + 2 * i);
  return wave;
}
