/*
 * What the commands of package.json say to arguments that they do not know: how they are called, on stderr, and status 2.
 */

/** The arguments, if `isRight` takes them. Otherwise this process ends. */
export function checkedArguments(usage, isRight) {
  const args = process.argv.slice(2);
  if (isRight(args)) return args;
  console.error(`usage: ${usage}`);
  return process.exit(2);
}
