// Package workload is what every side of every benchmark is asked for: the keys, the table, and how a server answers from
// it. All sides, shoal's and the others', look keys up in a netio/table.Table with Lookup, or a message's keys together with
// LookupAll, so that a lookup costs the same for everybody.
package workload
