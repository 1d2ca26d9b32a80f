// Loaded into the demo's children with --import: when the demo dies in whatever way, its channel closes, and what it
// started ends as if it had been asked to. Nothing of a demo outlives it.
process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
process.channel?.unref();
