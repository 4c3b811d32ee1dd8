//! The driver as its users see it: on real sockets of the loopback, and on the simulated network.

#[cfg(test)]
mod bbr;
#[cfg(test)]
mod client;
#[cfg(test)]
mod early;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod loopback;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod play;
#[cfg(test)]
mod protection;
#[cfg(test)]
mod rebinds;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod still;
#[cfg(test)]
mod window;
