/** MQTT 3.1.1 4.7: does the (well-formed) filter cover the topic? Topics that start with `$` need it spelled out. */
export function filterCovers(filter: string, topic: string): boolean {
  if (filter === topic) return true;
  const filterLevels = filter.split('/');
  const levels = topic.split('/');
  if (topic.startsWith('$') && (filterLevels[0] === '#' || filterLevels[0] === '+')) return false;
  for (const [index, level] of filterLevels.entries()) {
    // 4.7.1.2: `sport/#` covers `sport` too.
    if (level === '#') return true;
    if (index >= levels.length || (level !== '+' && level !== levels[index])) return false;
  }
  return filterLevels.length === levels.length;
}
