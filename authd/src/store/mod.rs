//! Two databases behind one text.
