"""Between arrays and what is in a blend file: objects, pictures, materials, assets, exports."""
