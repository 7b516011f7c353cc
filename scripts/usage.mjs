/*
 * For the commands of package.json: unknown arguments cause a usage line on stderr and exit status 2.
 */

/** The arguments, if `isRight` accepts them. Otherwise this process exits. */
export function checkedArguments(usage, isRight) {
  const args = process.argv.slice(2);
  if (isRight(args)) return args;
  console.error(`usage: ${usage}`);
  return process.exit(2);
}
