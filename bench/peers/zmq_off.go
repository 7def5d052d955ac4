//go:build !zmq

package main

// zmqPeers are those that need libzmq: none without it.
var zmqPeers []peer
