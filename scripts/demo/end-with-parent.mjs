// Loaded into the demo's children with --import: when the demo dies in whatever way, its channel closes, and what it
// started ends as if it had been asked to. Nothing of a demo outlives it.
const end = () => process.kill(process.pid, 'SIGTERM');
const LOOK_MS = 500;

if (process.channel) {
  process.on('disconnect', end);
  process.channel.unref();
} else {
  // A program that has become another one (execve) has lost the channel, not its parent.
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || end(), LOOK_MS).unref();
}
