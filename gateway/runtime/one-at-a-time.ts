import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';
import { Turns } from '#gateway/domain/turns.ts';

/** Requests sent before the first is answered (RFC 9112 9.3.2); no client of ours is known to do that. */
const MOST_WAITING = 8;
/** Octets, a score of the smallest requests. */
const SLICE = 1024;

/**
 * Has the requests of a connection handled one after the other, and one that sends many at once closed. Otherwise a
 * stranger with two hundred connections keeps everybody out, at every door, for as long as a quarter of a million
 * requests take.
 */
export function handleOneAtATime(server: Server | SecureServer): void {
  const turns = new Turns(MOST_WAITING);
  const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean;
  server.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    if (event !== 'request') return emit(event, ...args);
    const [{ socket }, response] = args as [IncomingMessage, ServerResponse];
    const start = () => {
      if (isClosing(socket)) return;
      response.once('close', () => turns.leave(socket));
      emit(event, ...args);
    };
    if (!isClosing(socket) && !turns.enter(socket, start)) socket.destroy();
    return true;
  };
  server.on(server instanceof SecureServer ? 'secureConnection' : 'connection', readInSlices);
}

/**
 * After an answer that says `close` nothing else may be worked on that came over the connection (RFC 9112 9.6): its
 * answer would be lost. Node ends the connection, and goes on with what it had parsed.
 */
function isClosing(socket: Socket): boolean {
  return socket.destroyed || socket.writableEnded;
}

/**
 * Node's parser goes on to the end of what it is given, also of a connection that is closed meanwhile: four hundred
 * requests in one TLS record. So it is given little at a time, and nothing any more once the connection is closed.
 */
function readInSlices(socket: Socket): void {
  const emit = socket.emit.bind(socket) as (event: string | symbol, ...args: unknown[]) => boolean;
  socket.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    const [chunk] = args;
    if (event !== 'data' || !Buffer.isBuffer(chunk)) return emit(event, ...args);
    for (let from = 0; from < chunk.length && !socket.destroyed; from += SLICE) {
      emit('data', chunk.subarray(from, from + SLICE));
    }
    return true;
  };
  // With a listener beside its own Node reads through these events, and not past them; it may have been paused.
  socket.on('data', () => {});
  socket.resume();
}
