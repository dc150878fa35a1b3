"""How fast every backend runs a model here: contenders in processes of their own, measured in turns."""
