/** MQTT 3.1.1 4.7: `+` is one level, `#` all levels from here on, the parent included. */
export function matchesFilter(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const levels = topic.split('/');
  // 4.7.2: wildcards do not reach topics that start with `$`.
  if (topic.startsWith('$') && (wanted[0] === '#' || wanted[0] === '+')) return false;
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return true;
    if (index >= levels.length || (want !== '+' && want !== levels[index])) return false;
  }
  return wanted.length === levels.length;
}

/** A topic of an application: no wildcards, no empty level, nothing that could leave the device's own tree. */
export function isPlainTopic(topic: string): boolean {
  return topic.length <= 512 && topic.split('/').every((level) => level !== '' && !/[+#\0]/.test(level));
}

export function isTopicFilter(filter: string): boolean {
  const levels = filter.split('/');
  if (filter === '' || filter.length > 512 || filter.includes('\0')) return false;
  return levels.every((level, index) => {
    if (level === '#') return index === levels.length - 1;
    return level === '+' || !/[+#]/.test(level);
  });
}
