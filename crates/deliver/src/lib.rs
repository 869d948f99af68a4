//! Final delivery into Maildirs over LMTP.
