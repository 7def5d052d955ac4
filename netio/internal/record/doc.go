// Package record carries bytes inside TLS 1.3 without a connection of its own: a Conn opens the records that have arrived,
// and seals what is to be sent into records.
//
// The handshake is that of crypto/tls, on the goroutine of the caller (Accept). It reads record by record, and not a byte more,
// so that whoever reads the connection afterwards finds the next record at the start. From then on nothing waits: Open gets what
// has arrived and hands over what is inside; Seal returns bytes for the wire. A Conn between two records keeps its keys, and no
// buffer of its own.
//
// This rests on behaviour of crypto/tls that its documentation does not promise, and that the tests of this package hold: a read
// of a connection that fails with a temporary net.Error can be tried again, and a write is a number of whole records.
//
// Nobody sends close_notify, and the end of the bytes proves nothing: package netio's goodbyes and acknowledgements do.
package record
