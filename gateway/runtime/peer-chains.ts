import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** OpenSSL's end of a TLS socket. What it answers becomes what `getPeerX509Certificate` gives. */
type Handle = { getPeerX509Certificate: (this: Handle) => object | undefined };

let isDone = false;

/**
 * Has the first reader of a client's certificate find the rest of what the client sent (`issuerCertificate`).
 *
 * Reading it takes the chain out of OpenSSL's hands, so that only the first read has it; and Node 24.21 reads it itself
 * at the end of a server's handshake, to see that there is one, and throws it away. Makers' certificates are often
 * below an intermediate that nobody but the device has. So the first read is kept for the second, and not longer.
 */
export function keepPeerChains(): void {
  if (isDone) return;
  isDone = true;
  const handles = handlePrototype();
  const read = handles.getPeerX509Certificate;
  const kept = new WeakMap<Handle, object>();
  handles.getPeerX509Certificate = function (this: Handle): object | undefined {
    const first = kept.get(this);
    if (first !== undefined) {
      kept.delete(this);
      return first;
    }
    const found = read.call(this);
    if (found !== undefined) kept.set(this, found);
    return found;
  };
}

/** @throws Error when this Node keeps it elsewhere: better not to start than to refuse makers' certificates. */
function handlePrototype(): Handle {
  const socket = new TLSSocket(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })) as TLSSocket & {
    _handle?: Handle;
  };
  const handle = socket._handle;
  socket.destroy();
  const prototype = handle === undefined ? undefined : (Object.getPrototypeOf(handle) as Handle);
  if (typeof prototype?.getPeerX509Certificate !== 'function') {
    throw new Error(`Node ${process.version} is not one this gateway was tested with; run "npm ci"`);
  }
  return prototype;
}
