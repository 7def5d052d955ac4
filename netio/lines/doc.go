// Package lines reads the lines of input files one way: files of commands, tables, targets, job logs. It knows nothing of
// what the lines mean. What is wrong with a file is named by file, line and reason ([FileError]).
package lines
