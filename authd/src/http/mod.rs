//! Public HTTP API.
