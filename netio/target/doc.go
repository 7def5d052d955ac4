// Package target says which machines a command, a scan or a roll-out is for.
//
// # What can be written
//
// An expression is a list of elements with operators between them, read from left to right; all operators bind alike:
//
//	a,b   union; so do spaces      a&b   intersection
//	a!b   a without b              a^b   in one of the two, not in both
//
// An element is one of:
//
//	web7  web[01-40]  web[1-9/2]  rack[1-4]-node[1-32,40]   node sets as ClusterShell writes them
//	10.0.0.7  10.0.[0-3].[1-254]  10.0.0.0/20  10.0.0.1-10.0.0.9
//	2001:db8::1  [2001:DB8::1]  2001:db8::/120  2001:db8::1-2001:db8::9  fe80::1%eth0
//	@rack1  @rack[1-3]  @*     a group of the groups file, several, the nodes of all of them
//	web*  db?  web[1-3]*       wildcards: the nodes of all groups that match
//	-                          the hosts of standard input, written as in a host file
//
// A number in a name is an index, whether it stands in brackets or not, and keeps its zeros: 7 and 07 are two names. The
// ends of a padded range have the same number of digits. A step counts from the first number on. A prefix stands for all of
// its addresses, the first and the last too.
//
// Spelling does not matter: letters of names become lower case (but for a user before an @), addresses take their canonical
// form, and an IPv4 address in an IPv6 one is the IPv4 address.
//
// # What a set is
//
// A Set is immutable, without duplicates, and in order: names by their text and their numbers, then IPv4, then IPv6. It holds
// runs, not names: a /8 is one run, and Len, At and Contains cost a few binary searches. So a caller that permutes
// indexes visits a set of any size in any order without a slice of it. String folds a set into an expression that parses
// into the same set.
//
// In memory a pattern (the text around the numbers) has a tree with a level for each number: a node's runs are disjoint,
// sorted, and lead to the node of the numbers that follow. Runs with equal nodes that touch are merged, so equal sets
// have equal trees. node.go has the algebra on trees, set.go that on patterns, fold.go prints.
//
// # Limits
//
// Parser.MaxPieces bounds the runs that an expression may take in memory; numbers have at most 18 digits, names 320 bytes
// and 64 numbers. Errors are *Error and say where in the text, and what to write; errors.Is finds ErrSyntax,
// ErrTooLarge and ErrUnknownGroup.
//
// Sets and Groups are safe for concurrent use; a Parser with a Stdin is not.
package target
