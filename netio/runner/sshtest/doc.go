// Package sshtest gives tests real ssh servers to talk to: an sshd of the system (sshd.go), and devices with faults on the
// server side of golang.org/x/crypto/ssh (device.go). Everything listens on 127.0.0.1 or where the test says, writes into the
// test's folder, and ends with the test.
package sshtest
