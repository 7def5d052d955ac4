// Package table is the subroutine that emulates remote commands, and the syntax of its files and of files of commands. It is
// an ordinary user of package netio: whatever it does, any embedder can do.
//
//	gw.HandleBatch("table", table.New(entries).Run)
//
// parse.go reads table files and lines of commands files; index.go is what a table is looked up in; table.go is the
// subroutine. A table file is read whole into memory; a line of it has at most MaxLine bytes.
package table
