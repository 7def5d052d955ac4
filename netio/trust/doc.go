// Package trust says who the clients of a gateway are, and what each of them may do, out of files in one folder. It is built on
// netio's public API alone.
//
//	ca.pem          the certificates that sign: all of them are trusted, so that one can follow another without a gap
//	ca.key          the key of the one that signs now
//	gateway.pem     the certificate and the key of the gateway
//	NAME.pem        the certificate and the key of the client NAME
//	revoked         certificates that are good no more: serial number, name
//	pins            public keys that need no certificate: key, name
//	tokens          SHA-256 of bearer tokens: hash, name
//	users           users of this machine, on unix sockets: number, name
//	known_gateways  keys of gateways that a client has accepted: address, key
//
// A Store is what a gateway knows of these files. It is read whole, and takes the place of the one before only when all of it is
// good (Store.Reload). A client is named by the first of these that it has: a certificate that a CA of ca.pem has signed, or a
// key in pins; a token, inside TLS or on a unix socket; its user, on a unix socket.
//
// Rights is the file that says what an identity may do: see ParseRights.
//
// Keys are ECDSA P-256. Certificates of a CA are good for ten years, others for 397 days; files of keys and tokens have mode 0600.
// All methods are safe for concurrent use.
package trust
