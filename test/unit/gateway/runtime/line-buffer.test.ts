import { EventEmitter, once } from 'node:events';
import { expect, test } from 'vitest';
import { LineBuffer } from '#gateway/runtime/line-buffer.ts';

function open(options: { delayMs: number; maxLength: number }) {
  const texts: string[] = [];
  const events = new EventEmitter();
  const write = (text: string) => {
    texts.push(text);
    events.emit('write');
  };
  return { texts, next: () => once(events, 'write'), buffer: new LineBuffer({ write }, options) };
}

test('lines of one moment are one write', async () => {
  const { texts, next, buffer } = open({ delayMs: 5, maxLength: 1000 });
  const first = next();
  buffer.write('a\n');
  buffer.write('b\n');
  expect(texts).toEqual([]);
  await first;
  const second = next();
  buffer.write('c\n');
  await second;
  expect(texts).toEqual(['a\nb\n', 'c\n']);
});

test('never more than its length waits', () => {
  const { texts, buffer } = open({ delayMs: 60_000, maxLength: 4 });
  buffer.write('a\n');
  buffer.write('b\n');
  buffer.write('c\n');
  expect(texts).toEqual(['a\nb\n']);
  buffer.flush();
  buffer.flush();
  expect(texts).toEqual(['a\nb\n', 'c\n']);
});
