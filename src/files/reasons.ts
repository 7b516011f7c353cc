/*
 * The system's error codes in words.
 */

/** Node's error for a system call. */
interface SystemError {
  code?: string | undefined;
  message: string;
}

/** Why something could not be opened for reading. */
export function whyNotRead({ code, message }: SystemError): string {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return "there is no such file";
    case "EACCES":
    case "EPERM":
      return "no permission to read it";
    case "ELOOP":
      return "it is a link that leads round in a circle";
    case "ENAMETOOLONG":
      return "the name is too long";
    default:
      return message;
  }
}

/** Why something could not be written. */
export function reasonOf({ code, message }: SystemError): string {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return "there is no such folder";
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "no permission to write there";
    case "ENOSPC":
    case "EDQUOT":
      return "the disk is full";
    case "ELOOP":
      return "it is a link that leads round in a circle";
    case "ENAMETOOLONG":
      return "the name is too long";
    default:
      return message;
  }
}
