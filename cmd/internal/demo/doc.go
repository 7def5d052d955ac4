// Package demo has the subroutines of the examples: what `shoal server --demo` serves, and what the examples under
// cmd/examples serve to themselves when no gateway is named. It uses nothing but the public API of netio.
//
// simple.go has a subroutine of each shape; backup.go is the gateway's side of the conditional backup, on a folder of its
// own; car.go is that of the car with its three feeds and its controls.
package demo
