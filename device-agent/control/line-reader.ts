import type { Socket } from 'node:net';

/** Lines of a socket as they come. A line longer than `limit` bytes ends the connection: it would only fill the memory. */
export function onLines(socket: Socket, limit: number, onLine: (line: string) => void): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    const lines = (pending + text).split('\n');
    pending = lines.pop() ?? '';
    if (pending.length > limit) {
      socket.destroy();
      return;
    }
    for (const line of lines) if (line !== '') onLine(line);
  });
}
