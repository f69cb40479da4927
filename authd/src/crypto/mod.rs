//! Hash pool, token signing, sealing, key-encryption key.
