//! The operator's desk: what happened and why, whether all is well, and the shapes of what is printed.

mod completion;
mod doctor;
mod exits;
mod papers;
mod schemas;
mod top;
mod why;
